//! Looks, and sends what is to be told: one after the other, again where nobody took it, and never for long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use prometheus::IntCounterVec;
use tokio::time::Instant;

use super::look::conditions;
use super::message::body;
use super::outstanding::{Event, Outstanding};
use crate::books::open::Books;
use crate::books::shared::Shared;
use crate::clock::Clock;
use crate::head::fields;
use crate::live::Live;
use crate::live::hook::Hook;
use crate::metrics::Metrics;
use crate::outbound::ask::{Bounds, ask};
use crate::outbound::connect::Connect;
use crate::usage::Bill;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(5);
/// What one POST may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), bytes: 64 << 10 };
/// Events that wait for a receiver that is away. Of more, the oldest are forgotten: what goes on is told again after a restart.
const WAITING: usize = 64;
/// After how long one that nobody took is sent again; then it is given up.
const AGAIN: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
];

const X_TIMESTAMP: HeaderName = HeaderName::from_static("x-mavera-gateway-timestamp");
const X_SIGNATURE: HeaderName = HeaderName::from_static("x-mavera-gateway-signature");

/// What is to be told, and when it is tried next.
struct Outbox {
    waiting: VecDeque<Event>,
    tries: usize,
    next: Instant,
    sent: IntCounterVec,
}

/// Looks again and again, and tells whoever is configured. Never returns.
pub async fn watch<C: Connect>(
    connect: C,
    live: Arc<Live>,
    books: Books,
    bill: Arc<Bill>,
    (metrics, clock): (Arc<Metrics>, Clock),
) {
    let sent = metrics.counters(
        "notifications_total",
        "Notifications of `notify.webhook`: sent, failed for good, or dropped because too many waited.",
        &["result"],
    );
    for result in ["sent", "failed", "dropped"] {
        sent.with_label_values(&[result]);
    }
    let (mut outstanding, mut next_look) = (Outstanding::default(), clock.now());
    let mut outbox = Outbox { waiting: VecDeque::new(), tries: 0, next: clock.now(), sent };
    loop {
        let snapshot = live.current();
        let now = clock.now();
        // Of several gateways one tells, while it is there.
        let hook = snapshot.hook.as_ref().filter(|_| books.desk.shared().is_none_or(Shared::is_first));
        let Some(hook) = hook else {
            outbox.waiting.clear();
            outstanding = Outstanding::default();
            drop(snapshot);
            tokio::time::sleep(LOOK).await;
            continue;
        };
        if now >= next_look {
            next_look = now + LOOK;
            let all = conditions(&snapshot, &books, &bill, clock.wall());
            for event in outstanding.look(all, now) {
                outbox.push(event);
            }
        }
        if outbox.is_due(now) {
            outbox.send(&connect, hook, clock).await;
            continue;
        }
        let until = if outbox.waiting.is_empty() { next_look } else { next_look.min(outbox.next) };
        drop(snapshot);
        tokio::time::sleep_until(until).await;
    }
}

impl Outbox {
    fn push(&mut self, event: Event) {
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
            self.tries = 0;
            self.sent.with_label_values(&["dropped"]).inc();
        }
        self.waiting.push_back(event);
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && now >= self.next
    }

    /// Sends the oldest.
    async fn send<C: Connect>(&mut self, connect: &C, hook: &Hook, clock: Clock) {
        let Some(event) = self.waiting.front() else { return };
        let sent = post(connect, hook, event, clock).await;
        let result = match sent {
            Ok(()) => "sent",
            // Its URL is a secret, and is in no log.
            Err(error) => {
                let Some(pause) = AGAIN.get(self.tries) else {
                    tracing::warn!(
                        kind = event.condition.kind.as_str(),
                        error,
                        "a notification was given up"
                    );
                    self.done("failed", clock);
                    return;
                };
                tracing::warn!(kind = event.condition.kind.as_str(), error, again_after = ?pause, "nobody took a notification");
                (self.tries, self.next) = (self.tries + 1, clock.now() + *pause);
                return;
            }
        };
        self.done(result, clock);
    }

    fn done(&mut self, result: &str, clock: Clock) {
        self.sent.with_label_values(&[result]).inc();
        self.waiting.pop_front();
        (self.tries, self.next) = (0, clock.now());
    }
}

async fn post<C: Connect>(connect: &C, hook: &Hook, event: &Event, clock: Clock) -> Result<(), String> {
    let at = clock.wall();
    let body = body(event, hook.format, at);
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = hook.uri();
    let headers = request.headers_mut();
    fields::add_own(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_TIMESTAMP, HeaderValue::from(at.as_second()));
    if let Some(signature) = hook.sign(at.as_second(), &body) {
        headers.insert(X_SIGNATURE, HeaderValue::from_str(&signature).map_err(|error| error.to_string())?);
    }
    *request.body_mut() = Full::new(Bytes::from(body));
    let answer = ask(connect, &hook.origin, request, BOUNDS).await.map_err(|error| error.to_string())?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
}
