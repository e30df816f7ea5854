//! Proxies on the way out.

use http::Uri;
use http::uri::{Authority, Scheme};

use super::validator::Validator;
use crate::config::values::Leaf;

const REMEDY: &str = "write it like \"http://proxy.example.org:3128\"";

impl Validator<'_, '_> {
    /// The proxy that connections to an https destination go through, if any do. `is_clear`: the destination is not https.
    pub(super) fn proxy(&mut self, key: &str, leaf: Leaf<String>, is_clear: bool) -> Option<Authority> {
        leaf.0.as_ref()?;
        let text = self.value(key, leaf, String::new(), REMEDY);
        // Whatever it is, it may have a password in it, which no problem repeats.
        let wrong = match text.parse::<Uri>() {
            Err(_) => "is not a URL",
            Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
                "has a user or a password in it, and a configuration holds no secret; name a proxy that knows this machine by its \
                 address"
            }
            Ok(uri) if uri.scheme() != Some(&Scheme::HTTP) => {
                "is not http://: what goes through it is TLS from here to its destination, and the way to the proxy needs none"
            }
            Ok(uri) if uri.path() != "/" || uri.query().is_some() => "has a path",
            Ok(uri) if uri.port_u16().is_none_or(|port| port == 0) => "names no port",
            Ok(_) if is_clear => "is for https:// alone; a destination on this machine is reached without",
            Ok(uri) => return uri.authority().cloned(),
        };
        self.problems.add(key, wrong, REMEDY);
        None
    }
}
