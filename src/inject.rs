//! The only place that sends the secret: builds the request that goes upstream and puts the
//! organisation's key into its head.

use bytes::Bytes;
use http::header;
use http::{HeaderMap, Request, Uri, Version};
use http_body_util::Full;

use crate::admit::desk::Admitted;
use crate::arrival::Refused;
use crate::head::received::Received;
use crate::head::{RequestId, fields};
use crate::live::Snapshot;
use crate::refuse::Refusal;
use crate::route::{PREFIX, Target};
use crate::stage::Check;

/// A request of ours, with the organisation's key in its head.
pub struct Outbound {
    /// What came before.
    pub admitted: Admitted,
    /// What is written upstream.
    pub request: Request<Full<Bytes>>,
}

/// The stage that swaps the caller's key, which ends here, for the organisation's.
#[derive(Clone, Copy, Debug)]
pub struct Inject;

/// A question of the gateway's own, below the upstream's base URL. None if it cannot be written there.
#[must_use]
pub(crate) fn own_request(snapshot: &Snapshot, path: &str) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = snapshot.origin.uri(path)?;
    fields::add_own(request.headers_mut());
    authorize(request.headers_mut(), snapshot);
    Some(request)
}

/// Host and key of the upstream: the one place that puts the secret anywhere.
fn authorize(headers: &mut HeaderMap, snapshot: &Snapshot) {
    headers.insert(header::HOST, snapshot.origin.host().clone());
    headers.insert(header::AUTHORIZATION, snapshot.key.authorization());
}

/// The whole head that goes upstream for a target. None if the target cannot be written below the base URL.
#[must_use]
pub fn head(snapshot: &Snapshot, caller: &Received, id: &RequestId, target: &Target) -> Option<Request<()>> {
    let mut request = Request::new(());
    let row = target.route.row();
    *request.method_mut() = row.method.clone();
    *request.uri_mut() = match caller.uri.path_and_query() {
        // As it came, where the upstream has its paths where we have ours: it was held against the table to the byte.
        Some(asked) if snapshot.origin.prefix() == PREFIX && target.is_at(&caller.uri) => {
            Uri::from(asked.clone())
        }
        _ => snapshot.origin.uri(&target.upstream_path())?,
    };
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = fields::onward(caller, id, row);
    authorize(request.headers_mut(), snapshot);
    Some(request)
}

impl Check<Admitted> for Inject {
    type Out = Outbound;

    fn check(&self, admitted: Admitted) -> Result<Outbound, Refused> {
        let judged = &admitted.judged;
        let Some(mut head) = head(&judged.snapshot, &judged.head, judged.exchange.id(), &judged.target)
        else {
            let reason = "its target cannot be written below the upstream's base URL";
            return Err(Refused::new(admitted.judged.exchange, Refusal::InvalidRequest { reason }));
        };
        if let Some(trace) = judged.exchange.trace() {
            trace.propagate(head.headers_mut());
        }
        let request = head.map(|()| Full::new(judged.body.clone()));
        Ok(Outbound { admitted, request })
    }
}
