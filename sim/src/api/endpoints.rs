//! The endpoints by their paths.

/// Base path of all endpoints.
const BASE: &str = "/api/v1";

/// The paths that are served. One that is written out stands before one with `{id}` in its place.
const TEMPLATES: [&str; 23] = [
    "/video-analyses",
    "/video-analyses/{id}",
    "/video-analyses/{id}/chat",
    "/responses",
    "/chat/completions",
    "/mave/chat",
    "/mave/threads",
    "/mave/threads/{id}",
    "/focus-groups",
    "/focus-groups/{id}",
    "/generations",
    "/generation-apps",
    "/brand-voices",
    "/brand-voices/{id}",
    "/personas",
    "/news/stories/trending",
    "/news/stories/personalized",
    "/news/stories/{id}",
    "/news/stories/{id}/analyze",
    "/news/stories/{id}/chat",
    "/files/upload-url",
    "/files",
    "/usage",
];

/// The template that a path fits, and what it has for `{id}`.
pub(super) fn find(path: &str) -> Option<(&'static str, &str)> {
    let path = path.strip_prefix(BASE)?;
    TEMPLATES.iter().find_map(|template| Some((*template, id_in(template, path)?)))
}

/// How the books call a path.
pub(super) fn name(path: &str) -> &str {
    find(path).map_or_else(|| path.strip_prefix(BASE).unwrap_or(path), |(template, _)| template)
}

fn id_in<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    let mut id = "";
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(id),
            (Some("{id}"), Some(found)) if !found.is_empty() => id = found,
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_by_their_templates() {
        for (path, template, id) in [
            ("/api/v1/video-analyses/c1/chat", "/video-analyses/{id}/chat", "c1"),
            ("/api/v1/news/stories/trending", "/news/stories/trending", ""),
            ("/api/v1/news/stories/cstory", "/news/stories/{id}", "cstory"),
        ] {
            assert_eq!(find(path), Some((template, id)));
        }
        for path in
            ["/api/v1/video-analyses/", "/api/v1/video-analysis", "/video-analyses", "/api/v1/usage/x"]
        {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
