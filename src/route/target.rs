//! Which row a request is for. Nothing is normalised: a path either is one of ours or is not.

use std::sync::{Arc, LazyLock};

use http::{Method, Uri};

use super::table::Route;
use crate::refuse::Refusal;

/// What stands in front of the upstream's own paths.
const PREFIX: &str = "/api/v1";
/// What varies in a template.
const ID: &str = "{id}";

/// For whoever asks for something else.
static SERVED: LazyLock<String> = LazyLock::new(|| {
    let rows: Vec<_> = Route::all()
        .map(Route::row)
        .filter(|row| row.is_upstream())
        .map(|row| format!("{} {}", row.method, row.template))
        .collect();
    match rows.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => rows.concat(),
    }
});

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which route.
    pub route: Route,
    /// The id in the path, matching `[A-Za-z0-9_-]{1,128}`.
    pub id: Option<Arc<str>>,
    /// The query, checked, as it came.
    pub query: Option<Arc<str>>,
}

impl Target {
    /// Finds what a method and a target ask for.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn find(method: &Method, uri: &Uri) -> Result<Self, Refusal> {
        let path = uri.path();
        let mut allow = Vec::new();
        for route in Route::all() {
            let row = route.row();
            let Some(id) = matched(row.template, path) else { continue };
            // As GET, and its answer without the body (RFC 9110 §9.3.2).
            if row.method != *method && !(row.method == Method::GET && *method == Method::HEAD) {
                allow.push(row.method.clone());
                if row.method == Method::GET {
                    allow.push(Method::HEAD);
                }
                continue;
            }
            let id = (!id.is_empty()).then_some(id);
            if id.is_some_and(|id| !is_word(id)) {
                let reason =
                    "is not an analysis id: expected 1 to 128 of letters, digits, \"_\" and \"-\"".into();
                return Err(Refusal::InvalidField { param: "id".into(), reason });
            }
            let query = uri.query().map(|query| checked(query, row.query)).transpose()?;
            return Ok(Self { route, id: id.map(Arc::from), query });
        }
        Err(if allow.is_empty() {
            Refusal::UnknownRoute { served: &SERVED }
        } else {
            Refusal::MethodNotAllowed { allow }
        })
    }

    /// The path and query below the upstream's base URL; empty for what is never sent.
    #[must_use]
    pub fn upstream_path(&self) -> String {
        let Some(template) = self.route.row().template.strip_prefix(PREFIX) else { return String::new() };
        let id = self.id.as_deref().unwrap_or_default();
        let (before, after) = template.split_once(ID).unwrap_or((template, ""));
        match &self.query {
            None => [before, id, after].concat(),
            Some(query) => [before, id, after, "?", query].concat(),
        }
    }
}

/// The id in a path, if the path is of a template: nothing where the template has none. In one that has, an id of nothing
/// makes it another path.
fn matched<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = template.split_once(ID) else { return (template == path).then_some("") };
    let rest = path.strip_prefix(before)?;
    let (id, behind) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (!id.is_empty() && behind == after).then_some(id)
}

fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A query of the documented parameters, once each, with plain values.
fn checked(query: &str, parameters: &'static [&'static str]) -> Result<Arc<str>, Refusal> {
    if parameters.is_empty() {
        return Err(Refusal::InvalidRequest { reason: "this route takes no query parameters" });
    }
    let mut seen = Vec::with_capacity(parameters.len());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // The name is quoted only if it is one we know: keys end up in query strings.
        let known = parameters.iter().find(|known| **known == name).copied();
        let refuse =
            |reason: String| Err(Refusal::InvalidField { param: known.unwrap_or("query").into(), reason });
        if known.is_none() {
            return refuse(format!("takes {} only", listed(parameters)));
        }
        if seen.contains(&name) {
            return refuse("is given twice".into());
        }
        if !is_word(value) {
            return refuse("must be 1 to 128 of letters, digits, \"_\" and \"-\"".into());
        }
        seen.push(name);
    }
    Ok(query.into())
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &Method, uri: &str) -> Result<Target, Refusal> {
        Target::find(method, &uri.parse().unwrap())
    }

    #[test]
    fn a_target_is_the_row_whose_template_it_fits_and_its_path_goes_on_as_it_was() {
        let chat = find(&Method::POST, "/api/v1/video-analyses/clx_1-A/chat").unwrap();
        assert_eq!((chat.route.label(), chat.id.as_deref()), ("video_chat", Some("clx_1-A")));
        assert_eq!(chat.upstream_path(), "/video-analyses/clx_1-A/chat");
        let list = find(&Method::GET, "/api/v1/video-analyses?limit=5&status=completed").unwrap();
        assert_eq!(list.upstream_path(), "/video-analyses?limit=5&status=completed");
        assert_eq!(find(&Method::GET, "/gateway/v1/me").unwrap().upstream_path(), "");
    }

    #[test]
    fn whoever_asks_for_something_else_is_told_what_there_is() {
        let refusal = find(&Method::GET, "/api/v1/responses").unwrap_err();
        assert_eq!(
            refusal.message(),
            "There is nothing at this path. The gateway serves POST /api/v1/video-analyses/{id}/chat, GET \
             /api/v1/video-analyses and GET /api/v1/video-analyses/{id}."
        );
        let refusal = find(&Method::GET, "/api/v1/video-analyses?key=x").unwrap_err();
        assert_eq!(refusal.message(), "The field `query` takes `limit`, `offset` and `status` only.");
    }
}
