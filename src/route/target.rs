//! Which row a request is for. Nothing is normalised: a path either is one of ours or is not.

use std::sync::{Arc, LazyLock};

use http::{Method, Uri};

use super::closed::hint;
use super::query::{checked, is_word};
use super::table::Route;
use crate::refuse::Refusal;

/// What stands in front of the upstream's own paths.
pub(crate) const PREFIX: &str = "/api/v1";
/// What varies in a template.
const ID: &str = "{id}";

/// What stands before and behind the id in each template, by route; nothing behind where it has none.
static AROUND_ID: LazyLock<Vec<(&str, Option<&str>)>> = LazyLock::new(|| {
    let around = |template: &'static str| match template.split_once(ID) {
        Some((before, behind)) => (before, Some(behind)),
        None => (template, None),
    };
    Route::all().map(|route| around(route.row().template)).collect()
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
            let Some(id) = matched(route, path) else { continue };
            // As GET, and its answer without the body (RFC 9110 §9.3.2).
            if row.method != *method && !(row.method == Method::GET && *method == Method::HEAD) {
                let also = (row.method == Method::GET).then_some(Method::HEAD);
                // One path may be of two templates.
                for method in [row.method.clone()].into_iter().chain(also) {
                    if !allow.contains(&method) {
                        allow.push(method);
                    }
                }
                continue;
            }
            let id = (!id.is_empty()).then_some(id);
            if id.is_some_and(|id| !is_word(id)) {
                let reason = "is not an id: expected 1 to 128 of letters, digits, \"_\" and \"-\"".into();
                return Err(Refusal::InvalidField { param: "id".into(), reason });
            }
            let query = uri.query().map(|query| checked(query, row.query)).transpose()?;
            return Ok(Self { route, id: id.map(Arc::from), query });
        }
        Err(if allow.is_empty() {
            Refusal::UnknownRoute { hint: hint(path) }
        } else {
            Refusal::MethodNotAllowed { allow }
        })
    }

    /// Whether it is what a request asks for with this URI, to the byte.
    #[must_use]
    pub fn is_at(&self, uri: &Uri) -> bool {
        matched(self.route, uri.path()) == Some(self.id.as_deref().unwrap_or_default())
            && uri.query() == self.query.as_deref()
    }

    /// The path and query below the upstream's base URL; empty for what is never sent.
    #[must_use]
    pub fn upstream_path(&self) -> String {
        let (before, behind) = AROUND_ID[self.route.index()];
        let Some(before) = before.strip_prefix(PREFIX) else { return String::new() };
        let (id, behind) = (self.id.as_deref().unwrap_or_default(), behind.unwrap_or_default());
        match &self.query {
            None => [before, id, behind].concat(),
            Some(query) => [before, id, behind, "?", query].concat(),
        }
    }
}

/// The id in a path, if the path is of a route's template: nothing where the template has none. In one that has, an id of
/// nothing makes it another path.
fn matched(route: Route, path: &str) -> Option<&str> {
    let (before, behind) = AROUND_ID[route.index()];
    let rest = path.strip_prefix(before)?;
    let Some(behind) = behind else { return rest.is_empty().then_some("") };
    let id = rest.strip_suffix(behind)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
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
    fn every_row_is_reached_and_its_path_goes_on() {
        for route in Route::all() {
            let path = route.row().template.replace(ID, "c1");
            let target = find(&route.row().method, &path).unwrap();
            assert_eq!(target.route, route, "{path}");
            assert!(
                target.is_at(&path.parse().unwrap()) && !target.is_at(&format!("{path}x").parse().unwrap())
            );
            let below = if route.row().is_upstream() { &path[PREFIX.len()..] } else { "" };
            assert_eq!(target.upstream_path(), below);
        }
    }

    #[test]
    fn a_word_that_a_template_has_is_no_id() {
        let trending = find(&Method::GET, "/api/v1/news/stories/trending").unwrap();
        assert_eq!((trending.route.label(), trending.id), ("news_trending", None));
        let story = find(&Method::GET, "/api/v1/news/stories/trendy").unwrap();
        assert_eq!((story.route.label(), story.id.as_deref()), ("news_get", Some("trendy")));
        let refusal = find(&Method::POST, "/api/v1/news/stories/trending").unwrap_err();
        assert!(
            matches!(refusal, Refusal::MethodNotAllowed { allow } if allow == [Method::GET, Method::HEAD]),
            "each once"
        );
    }

    #[test]
    fn whoever_asks_for_something_else_is_told_what_there_is() {
        let refusal = find(&Method::GET, "/api/v1/responses").unwrap_err();
        assert!(matches!(refusal, Refusal::MethodNotAllowed { allow } if allow == [Method::POST]));
        let refusal = find(&Method::GET, "/api/v1/video-analyzes").unwrap_err();
        assert_eq!(refusal.message(), "There is nothing at this path. Did you mean /api/v1/video-analyses?");
        let refusal = find(&Method::GET, "/api/v1/video-analyses?key=x").unwrap_err();
        assert_eq!(refusal.message(), "The field `query` takes `limit`, `offset` and `status` only.");
    }
}
