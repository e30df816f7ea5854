//! What is told to whoever asks for something that is not served: what it is, if we know it, or what may be meant.

use super::table::Route;

/// Paths that are Mavera's and closed here, by how they begin, with a word on each. `""` in the midst stands for any id.
const CLOSED: [(&[&str], &str); 11] = [
    (&["video-analysis"], "Mavera does not document it: analyses are made with POST /api/v1/video-analyses"),
    (&["assets"], "Mavera does not document it: files are uploaded by way of POST /api/v1/files/upload-url"),
    (
        &["workspaces"],
        "Workspaces and their members are administered by those who have the organisation's account, not through the gateway",
    ),
    (
        &["projects"],
        "Projects are administered by those who have the organisation's account, not through the gateway",
    ),
    (&["folders"], "Folders are kept in Mavera's dashboard; the gateway does not serve them"),
    (&["meetings"], "The gateway does not serve meetings"),
    (
        &["usage"],
        "The organisation's balance is not for teams; what yours has left is told by GET /gateway/v1/me",
    ),
    (&["models"], "Mavera has one model, mavera-1, and no list of them"),
    (&["generations", ""], "Generations are neither changed nor deleted through the gateway"),
    (&["files", ""], "Files are neither changed nor deleted through the gateway"),
    (&["personas", ""], "Personas are not changed through the gateway"),
];

/// How like a word has to be to one of a template, for that to be meant, and how long it may be.
const ALIKE: f64 = 0.85;
const LONGEST: usize = 40;

/// A sentence on a path that no row is of.
pub(super) fn hint(path: &str) -> String {
    let closed = path.strip_prefix("/api/v1/").and_then(|rest| {
        let segments: Vec<_> = rest.split('/').collect();
        let begins = |begin: &&[&str]| {
            begin.len() <= segments.len()
                && begin.iter().zip(&segments).all(|(begin, segment)| begin.is_empty() || begin == segment)
        };
        CLOSED.iter().find(|(begin, _)| begins(begin))
    });
    if let Some((_, word)) = closed {
        return format!("{word}.");
    }
    // A template, and nothing of what was asked: a path may be made to look like anything.
    let meant = Route::all().map(|route| route.row().template).find(|template| {
        let asked = |prefix: &str| template.strip_prefix(prefix).is_some_and(|rest| is_meant(path, rest));
        asked("") || asked("/api") || asked("/api/v1")
    });
    match meant {
        Some(template) => format!("Did you mean {template}?"),
        None => "The paths are Mavera's own, below /api/v1; GET /gateway/v1/me lists those that your team may use.".into(),
    }
}

/// Whether a path is a template but for one word that is misspelt, or for what stands in front of it.
fn is_meant(path: &str, template: &str) -> bool {
    let mut misspelt = 0;
    let mut segments = path.split('/');
    for expected in template.split('/') {
        match segments.next() {
            Some(segment) if segment == expected || expected == "{id}" => {}
            Some(segment) if segment.len() <= LONGEST && strsim::jaro_winkler(segment, expected) >= ALIKE => {
                misspelt += 1;
            }
            _ => return false,
        }
    }
    segments.next().is_none() && misspelt <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_says_so_and_what_is_misspelt_is_guessed() {
        for (path, expected) in [
            ("/api/v1/video-analysis", "does not document it"),
            ("/api/v1/workspaces/c1/members/u1", "Workspaces"),
            ("/api/v1/usage", "GET /gateway/v1/me"),
            ("/api/v1/generations/c1", "neither changed nor deleted"),
            ("/api/v1/files/c1/favorite", "neither changed nor deleted"),
            ("/api/v1/chat/completion", "/api/v1/chat/completions?"),
            ("/v1/responses", "/api/v1/responses?"),
            ("/", "below /api/v1"),
            ("/metrics", "below /api/v1"),
        ] {
            assert!(hint(path).contains(expected), "{path}: {}", hint(path));
        }
    }
}
