//! The spans of one call: the request as a server, what its stages waited for, and the exchange with the upstream as
//! a client, with OpenTelemetry's names for HTTP and generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>). Credits have names of our own.
//!
//! There is nothing of a body in a span, and no field of a head.

use std::time::SystemTime;

use http::Method;
use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{KeyValue, SpanId, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::ended::Ended;
use super::outcome::Outcome;
use crate::credits::Credits;
use crate::ledger::Basis;
use crate::outbound::origin::Origin;
use crate::refuse::Code;
use crate::trace::{Trace, Tracer};

/// The only model there is; a chat about a video names none (source: Mavera's API reference).
const MODEL: &str = "mavera-1";
const PROVIDER: &str = "mavera";

/// From the monotonic times of a call to those that spans are written in.
struct Times {
    wall: SystemTime,
    now: Instant,
}

impl Times {
    fn at(&self, instant: Instant) -> SystemTime {
        let ago = self.now.saturating_duration_since(instant);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

/// Attributes, of which those without a value are left out.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.0.push(KeyValue::new(key, value));
        self
    }

    fn with_some(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

/// One span, but for its time and its place.
struct Content {
    kind: SpanKind,
    name: String,
    attributes: Attributes,
    events: Vec<Event>,
    failed: bool,
}

/// All spans of a call, the innermost first, in the order in which they ended.
pub(super) fn of(tracer: &Tracer, trace: Trace, told: &Ended<'_>) -> Vec<SpanData> {
    let times = Times { wall: told.at.into(), now: told.times.ended };
    let Trace { id: trace_id, parent, server, client, stages, upstream } = trace;
    let span = |id: SpanId, parent: Option<SpanId>, remote, began, ended, content: Content| SpanData {
        span_context: SpanContext::new(trace_id, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: remote,
        span_kind: content.kind,
        name: content.name.into(),
        start_time: times.at(began),
        end_time: times.at(ended),
        attributes: content.attributes.0,
        dropped_attributes_count: 0,
        events: {
            let mut events = SpanEvents::default();
            events.events = content.events;
            events
        },
        links: SpanLinks::default(),
        status: if content.failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: tracer.scope(),
    };
    let mut spans: Vec<_> = stages
        .into_iter()
        .map(|stage| {
            let content = Content {
                kind: SpanKind::Internal,
                name: stage.name.to_owned(),
                attributes: Attributes::default(),
                events: Vec::new(),
                failed: false,
            };
            span(tracer.new_span_id(), Some(server), false, stage.began, stage.ended, content)
        })
        .collect();
    let (began, over) = (told.times.began, told.times.ended);
    if let Some(sent) = told.times.sent {
        spans.push(span(
            client,
            Some(server),
            false,
            sent,
            over,
            exchange(told, upstream.as_deref(), &times),
        ));
    }
    spans.push(span(server, parent, parent.is_some(), began, over, request(told)));
    spans
}

/// The whole call, as its caller sees it.
fn request(told: &Ended<'_>) -> Content {
    let route = told.target.map(|target| target.route.row().template);
    let method = known(told.method);
    let failed = told.status.is_none_or(|status| status.is_server_error())
        || matches!(told.outcome, Outcome::Truncated | Outcome::Cut);
    Content {
        kind: SpanKind::Server,
        name: route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
        attributes: Attributes::default()
            .with("http.request.method", method)
            .with_some("http.route", route)
            .with_some("http.response.status_code", told.status.map(|status| i64::from(status.as_u16())))
            .with("network.protocol.version", told.http_version())
            .with_some("error.type", told.code.map(Code::as_str).or(failed.then_some(told.outcome.as_str())))
            .with("mavera_gateway.request_id", told.request_id.to_owned())
            .with("mavera_gateway.outcome", told.outcome.as_str())
            .with_some("mavera_gateway.team", told.who.map(|who| who.team.to_string()))
            .with_some("mavera_gateway.key_id", told.who.map(|who| who.key_id.to_string()))
            .with_some("mavera_gateway.analysis_id", analysis(told)),
        events: Vec::new(),
        failed,
    }
}

/// The exchange with the upstream: for a chat, an inference.
fn exchange(told: &Ended<'_>, upstream: Option<&Origin>, times: &Times) -> Content {
    let address = upstream.map(Origin::address);
    let chat = told.target.is_some_and(|target| target.route.row().costs());
    let status = told.answered;
    let failed = status.is_none_or(|status| status.is_client_error() || status.is_server_error())
        || told.outcome == Outcome::Truncated;
    let error = match status {
        None => Some(told.code.map_or(told.outcome.as_str(), Code::as_str).to_owned()),
        Some(status) if status.as_u16() >= 400 => Some(status.as_str().to_owned()),
        Some(_) => failed.then(|| told.outcome.as_str().to_owned()),
    };
    let mut attributes = Attributes::default()
        .with("http.request.method", known(told.method))
        .with_some("http.response.status_code", status.map(|status| i64::from(status.as_u16())))
        .with_some("server.address", address.map(|(host, _)| host.to_owned()))
        .with_some("server.port", address.map(|(_, port)| i64::from(port)))
        .with_some("error.type", error);
    if chat {
        let usage = told.reading.usage;
        let count = |tokens: Option<u64>| tokens.and_then(|tokens| i64::try_from(tokens).ok());
        attributes = attributes
            .with("gen_ai.operation.name", "chat")
            .with("gen_ai.provider.name", PROVIDER)
            .with("gen_ai.request.model", MODEL)
            .with_some("gen_ai.response.id", told.reading.response_id.clone())
            .with_some("gen_ai.usage.input_tokens", count(usage.input_tokens))
            .with_some("gen_ai.usage.output_tokens", count(usage.output_tokens))
            .with("mavera_gateway.stream", told.stream)
            .with_some("mavera_gateway.credits.reserved", told.reserved.map(Credits::as_f64))
            .with_some("mavera_gateway.credits.booked", told.booked().map(Credits::as_f64))
            .with_some("mavera_gateway.credits.basis", told.basis().map(Basis::as_str));
    }
    let first = told.times.answered.map(|at| Event::new("response head", times.at(at), Vec::new(), 0));
    Content {
        kind: SpanKind::Client,
        name: if chat { format!("chat {MODEL}") } else { known(told.method).to_owned() },
        attributes,
        events: first.into_iter().collect(),
        failed,
    }
}

fn analysis(told: &Ended<'_>) -> Option<String> {
    told.target.and_then(|target| target.id.as_deref()).map(str::to_owned)
}

/// A method that is somebody's invention is no attribute's value.
fn known(method: &Method) -> &'static str {
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD, Method::OPTIONS]
        .iter()
        .position(|known| known == method)
        .map_or("_OTHER", |at| ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"][at])
}
