//! A request as its endpoint sees it.

use serde_json::Value;

use crate::errors::ApiError;
use crate::quirks::Quirks;

/// One request of an endpoint that was found.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    /// What stands in the path where the template has `{id}`.
    pub(super) id: &'a str,
    pub(super) query: &'a str,
    /// The body, if it is JSON.
    pub(super) body: Option<&'a Value>,
    pub(super) quirks: &'a Quirks,
}

impl<'a> Ask<'a> {
    /// A member of the body. `null` is none.
    pub(super) fn member(&self, name: &str) -> Option<&'a Value> {
        self.body?.get(name).filter(|value| !value.is_null())
    }

    /// A member that is required.
    pub(super) fn required(&self, name: &str) -> Result<&'a Value, ApiError> {
        self.member(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A member that is required, and text.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, ApiError> {
        self.required(name)?.as_str().filter(|text| !text.is_empty()).ok_or_else(|| ApiError::not_valid(name))
    }

    /// A member that is required, and a list of so many things.
    pub(super) fn list(&self, name: &str, most: usize) -> Result<&'a Vec<Value>, ApiError> {
        let list = self.required(name)?.as_array();
        list.filter(|list| (1..=most).contains(&list.len())).ok_or_else(|| ApiError::not_valid(name))
    }

    /// Whether an event stream is wanted.
    pub(super) fn stream(&self) -> Result<bool, ApiError> {
        match self.member("stream") {
            None => Ok(false),
            Some(stream) => stream.as_bool().ok_or_else(|| ApiError::not_valid("stream")),
        }
    }

    /// Bytes of the body, by which some prices go.
    pub(super) fn length(&self) -> usize {
        self.body.map_or(0, |body| body.to_string().len())
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// A parameter that is a number.
    pub(super) fn number(&self, name: &str, default: usize) -> usize {
        self.parameter(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}
