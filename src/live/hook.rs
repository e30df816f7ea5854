//! Where notifications go: a URL that is a secret, for whoever has it can send there, and the key that they are signed with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use ring::hmac;

use crate::config::{Notify, NotifyFormat, is_loopback};
use crate::outbound::origin::Origin;
use crate::secret::{SigningKey, webhook_url};

/// The receiver of notifications.
pub struct Hook {
    /// Where it is.
    pub(crate) origin: Arc<Origin>,
    /// What it reads.
    pub(crate) format: NotifyFormat,
    /// The path, which is a secret with most receivers.
    target: Uri,
    key: Option<SigningKey>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("host", self.origin.host()).finish_non_exhaustive()
    }
}

impl Hook {
    /// As configured.
    ///
    /// # Errors
    /// The key of the configuration that is wrong, and why: nothing of the URL is in it.
    pub(super) fn read(notify: &Notify) -> Result<Self, (&'static str, String)> {
        const WEBHOOK: &str = "notify.webhook";
        let text = webhook_url(&notify.webhook).map_err(|error| (WEBHOOK, error.to_string()))?;
        let wrong = |what: &str| (WEBHOOK, format!("{} {what}", notify.webhook));
        let uri: Uri = text.parse().map_err(|_| wrong("does not hold a URL"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let Some(authority) = authority else {
            return Err(wrong("does not hold a URL without user and password"));
        };
        let is_clear = uri.scheme() == Some(&Scheme::HTTP);
        if is_clear && !is_loopback(authority.host()) {
            return Err(wrong("holds an http:// URL, which anybody on the way can read; use https://"));
        }
        let origin = Origin::new(&uri, notify.ca_file.as_deref().map(Path::new));
        let origin = origin.map_err(|error| (WEBHOOK, format!("{}: {error}", notify.webhook)))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let target = path.parse().map_err(|_| wrong("holds a URL with an unusable path"))?;
        let key = notify.secret.as_ref().map(SigningKey::read).transpose();
        let key = key.map_err(|error| ("notify.secret", error.to_string()))?;
        let origin = Arc::new(origin.by(notify.proxy.as_ref()));
        Ok(Self { origin, format: notify.format, target, key })
    }

    /// What is asked for there.
    pub(crate) fn uri(&self) -> Uri {
        self.target.clone()
    }

    /// The signature of a body that is sent at a second of the epoch: HMAC-SHA256 over both with a dot between (RFC 2104).
    pub(crate) fn sign(&self, at: i64, body: &[u8]) -> Option<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.as_ref()?.reveal());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{at}.").as_bytes());
        context.update(body);
        Some(format!("v1={}", hex::encode(context.sign())))
    }
}
