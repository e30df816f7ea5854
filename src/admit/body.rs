//! Reads the caller's body, once and whole, into one buffer under its cap and deadline, and has it
//! judged. The only stage of admission that waits.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Version, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use super::concurrency::Permitted;
use crate::arrival::{Arrival, Refused};
use crate::books::keeper::Keeper;
use crate::head::received::Received;
use crate::identify::{Identified, may_name};
use crate::limit::in_flight::Permit;
use crate::live::Snapshot;
use crate::live::directory::Caller;
use crate::record::Exchange;
use crate::refuse::Refusal;
use crate::route::{Target, Thing, schema};
use crate::routing::Routed;
use crate::stage::Wait;

/// How long a caller that waits in vain to be asked for its body is waited for. Clients that give up waiting do so after a
/// second (source: `ExpectContinueTimeout` in Go's net/http, curl's `--expect100-timeout`).
const UNASKED: Duration = Duration::from_secs(3);

/// A request that was read whole and judged fit to send.
pub struct Judged {
    /// Goes with the call to its end.
    pub exchange: Exchange,
    /// The configuration this call is served under.
    pub snapshot: Arc<Snapshot>,
    /// The head as the caller wrote it.
    pub head: Box<Received>,
    /// What is asked for.
    pub target: Target,
    /// Who asks.
    pub caller: Caller,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Held until the answer is over.
    pub permit: Permit,
}

/// The stage that reads and judges the body.
#[derive(Clone, Debug)]
pub struct ReadBody {
    /// Who knows whose things are.
    pub(crate) desk: Arc<Keeper>,
}

impl<B> Wait<Permitted<B>> for ReadBody
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    type Out = Box<Judged>;

    async fn wait(&self, permitted: Permitted<B>) -> Result<Box<Judged>, Refused> {
        judge(permitted, &self.desk).await
    }
}

/// Cancel-safe: dropped while it waits, it ends the record and gives the permit back.
async fn judge<B>(permitted: Permitted<B>, desk: &Keeper) -> Result<Box<Judged>, Refused>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Permitted { identified: Identified { routed, caller, .. }, permit } = permitted;
    let Routed { arrival: Arrival { mut exchange, snapshot, head, body, .. }, target } = routed;
    let body = match target.route.row().body {
        Some(rules) => {
            let read = upload(&mut exchange, &snapshot, &head, body, &caller).await;
            let judged = read.and_then(|body| Ok((schema::judge(rules, &body)?.names, body)));
            let may = |names: &[(Thing, String)]| {
                names.iter().try_for_each(|(thing, id)| may_name(&caller, &desk.owners, *thing, id))
            };
            let judged = match judged {
                Ok((names, body)) => {
                    if may(&names).is_err() {
                        // Another gateway may have made it a moment ago.
                        desk.catch_up().await;
                    }
                    may(&names).map(|()| body)
                }
                Err(refusal) => Err(refusal),
            };
            match judged {
                Ok(body) => body,
                Err(refusal) => return Err(Refused::new(exchange, refusal)),
            }
        }
        // What a caller may send along with a GET has no meaning (RFC 9110 §9.3.1) and goes nowhere.
        None => Bytes::new(),
    };
    // In one place from here on: it goes through many hands.
    Ok(Box::new(Judged { exchange, snapshot, head, target, caller, body, permit }))
}

/// Reads a caller's body, and notes how long that took.
pub(crate) async fn upload<B>(
    exchange: &mut Exchange,
    snapshot: &Snapshot,
    head: &http::request::Parts,
    body: B,
    caller: &Caller,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let began = exchange.clock().now();
    let read = read(head, body, caller.team.limits.max_body, snapshot.config.server.body_timeout).await;
    exchange.uploaded(began);
    read
}

async fn read<B>(
    head: &http::request::Parts,
    body: B,
    limit: usize,
    timeout: std::time::Duration,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if let Some(content_type) = head.headers.get(header::CONTENT_TYPE) {
        let media_type =
            content_type.as_bytes().split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        if !media_type.eq_ignore_ascii_case(b"application/json") {
            let reason = "The request body must be JSON: send `Content-Type: application/json`";
            return Err(Refusal::UnsupportedMediaType { reason });
        }
    }
    // Refused by its declared length, a body need not be sent at all.
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::BodyTooLarge { limit });
    }
    tokio::time::timeout(timeout, collect(body, limit, waits_to_be_asked_in_vain(head)))
        .await
        .unwrap_or(Err(Refusal::RequestTimeout { after: timeout }))
}

/// On HTTP/2 nobody asks a caller to continue: hyper writes no informational answers there.
fn waits_to_be_asked_in_vain(head: &http::request::Parts) -> bool {
    head.version == Version::HTTP_2 && head.headers.contains_key(header::EXPECT)
}

/// `unasked` if the caller may be waiting for a word that does not come. Some send their body all the same after a while;
/// the others would wait for their own time to pass.
async fn collect<B>(body: B, limit: usize, unasked: bool) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let declared = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let mut body = pin!(body);
    let mut collected = Collected { limit, declared, first: Bytes::new(), whole: BytesMut::new() };
    if unasked {
        let first = tokio::time::timeout(UNASKED, body.frame()).await;
        let reason = "Over HTTP/2 no caller is asked to continue: send the body at once, without `Expect: 100-continue`";
        match first.map_err(|_| Refusal::ExpectationFailed { reason })? {
            Some(frame) => collected.add(frame)?,
            None => return Ok(collected.finish()),
        }
    }
    while let Some(frame) = body.frame().await {
        collected.add(frame)?;
    }
    Ok(collected.finish())
}

/// What has come of a body. One that comes in one piece is passed on as that piece, without a copy.
struct Collected {
    limit: usize,
    declared: Option<usize>,
    first: Bytes,
    whole: BytesMut,
}

impl Collected {
    fn add<E>(&mut self, frame: Result<Frame<Bytes>, E>) -> Result<(), Refusal> {
        let frame =
            frame.map_err(|_| Refusal::InvalidRequest { reason: "its body is broken off or malformed" })?;
        // Trailers of a request have no reader here.
        let Ok(data) = frame.into_data() else { return Ok(()) };
        let Self { limit, declared, first, whole } = self;
        if whole.len() + first.len() + data.len() > *limit {
            return Err(Refusal::BodyTooLarge { limit: *limit });
        }
        if first.is_empty() && whole.is_empty() {
            *first = data;
            return Ok(());
        }
        if whole.is_empty() {
            whole.reserve(declared.unwrap_or(first.len() + data.len()));
            whole.extend_from_slice(&std::mem::take(first));
        }
        whole.extend_from_slice(&data);
        Ok(())
    }

    fn finish(self) -> Bytes {
        if self.whole.is_empty() { self.first } else { self.whole.freeze() }
    }
}
