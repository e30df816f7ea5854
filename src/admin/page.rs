//! The credits page: files that are part of the program, under a policy that lets the browser load nothing else.

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::Full;

/// What the page's files may do: load each other and ask this listener. Nothing inline, nothing from elsewhere, in no
/// frame, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of every file.
const ASSETS: [(&str, &str, &str); 23] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/overview.js", SCRIPT, include_str!("page/overview.js")),
    ("/chart.js", SCRIPT, include_str!("page/chart.js")),
    ("/requests.js", SCRIPT, include_str!("page/requests.js")),
    ("/refusals.js", SCRIPT, include_str!("page/refusals.js")),
    ("/callers.js", SCRIPT, include_str!("page/callers.js")),
    ("/grants.js", SCRIPT, include_str!("page/grants.js")),
    ("/jobs.js", SCRIPT, include_str!("page/jobs.js")),
    ("/replicas.js", SCRIPT, include_str!("page/replicas.js")),
    ("/queue.js", SCRIPT, include_str!("page/queue.js")),
    ("/view.js", SCRIPT, include_str!("page/view.js")),
    ("/save.js", SCRIPT, include_str!("page/save.js")),
    ("/ring.js", SCRIPT, include_str!("page/ring.js")),
    ("/bar.js", SCRIPT, include_str!("page/bar.js")),
    ("/feed.js", SCRIPT, include_str!("page/feed.js")),
    ("/format.js", SCRIPT, include_str!("page/format.js")),
    ("/words.js", SCRIPT, include_str!("page/words.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/uplot.css", CSS, include_str!("page/vendor/uplot/uPlot.min.css")),
    ("/uplot.js", SCRIPT, include_str!("page/vendor/uplot/uPlot.iife.min.js")),
];

/// The file of that path.
pub(super) fn asset(path: &str) -> Option<Response<Full<Bytes>>> {
    let (_, content_type, content) = *ASSETS.iter().find(|(name, ..)| *name == path)?;
    let mut response = Response::new(Full::from(content));
    let fields = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Another version of the program is another page.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Some(response)
}
