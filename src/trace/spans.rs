//! The spans of one call: the request as a server, what its stages waited for, and the exchange with the upstream as
//! a client, with OpenTelemetry's names for HTTP and generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>). Credits have names of our own.
//!
//! There is nothing of a body in a span, and no field of a head.

use std::time::SystemTime;

use http::{Method, StatusCode, Version};
use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{KeyValue, SpanId, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::{Trace, Tracer};
use crate::clock::Clock;
use crate::credits::Credits;
use crate::meter::Reading;
use crate::outbound::origin::Origin;
use crate::record::Outcome;
use crate::route::Target;

/// The only model there is; a chat about a video names none (source: Mavera's API reference).
const MODEL: &str = "mavera-1";
const PROVIDER: &str = "mavera";

/// What the record of a call tells its spans.
pub(crate) struct Told<'r> {
    pub request_id: &'r str,
    pub method: &'r Method,
    pub version: Version,
    pub target: Option<&'r Target>,
    pub team: Option<&'r str>,
    pub key_id: Option<&'r str>,
    pub outcome: Outcome,
    pub code: Option<&'static str>,
    pub status: Option<StatusCode>,
    pub stream: bool,
    pub began: Instant,
    pub sent: Option<Instant>,
    pub answered: Option<(Instant, StatusCode)>,
    pub ended: Instant,
    pub reserved: Option<Credits>,
    pub booked: Option<Credits>,
    pub basis: Option<&'static str>,
    pub reading: &'r Reading,
}

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
pub(super) fn of(tracer: &Tracer, trace: Trace, clock: Clock, told: &Told<'_>) -> Vec<SpanData> {
    let times = Times { wall: clock.wall().into(), now: clock.now() };
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
        instrumentation_scope: tracer.scope.clone(),
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
            let id = opentelemetry_sdk::trace::IdGenerator::new_span_id(&tracer.ids);
            span(id, Some(server), false, stage.began, stage.ended, content)
        })
        .collect();
    if let Some(sent) = told.sent {
        spans.push(span(
            client,
            Some(server),
            false,
            sent,
            told.ended,
            exchange(told, upstream.as_deref(), &times),
        ));
    }
    spans.push(span(server, parent, parent.is_some(), told.began, told.ended, request(told)));
    spans
}

/// The whole call, as its caller sees it.
fn request(told: &Told<'_>) -> Content {
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
            .with(
                "network.protocol.version",
                match told.version {
                    Version::HTTP_2 => "2",
                    Version::HTTP_10 => "1.0",
                    _ => "1.1",
                },
            )
            .with_some("error.type", told.code.or(failed.then_some(told.outcome.as_str())))
            .with("mavera_gateway.request_id", told.request_id.to_owned())
            .with("mavera_gateway.outcome", told.outcome.as_str())
            .with_some("mavera_gateway.team", told.team.map(str::to_owned))
            .with_some("mavera_gateway.key_id", told.key_id.map(str::to_owned))
            .with_some("mavera_gateway.analysis_id", analysis(told)),
        events: Vec::new(),
        failed,
    }
}

/// The exchange with the upstream: for a chat, an inference.
fn exchange(told: &Told<'_>, upstream: Option<&Origin>, times: &Times) -> Content {
    let address = upstream.map(Origin::address);
    let chat = told.target.is_some_and(|target| target.route.row().costs());
    let status = told.answered.map(|(_, status)| status);
    let failed = status.is_none_or(|status| status.is_client_error() || status.is_server_error())
        || told.outcome == Outcome::Truncated;
    let error = match status {
        None => told.code.or(Some(told.outcome.as_str())).map(str::to_owned),
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
            .with_some("mavera_gateway.credits.booked", told.booked.map(Credits::as_f64))
            .with_some("mavera_gateway.credits.basis", told.basis);
    }
    let first = told.answered.map(|(at, _)| Event::new("response head", times.at(at), Vec::new(), 0));
    Content {
        kind: SpanKind::Client,
        name: if chat { format!("chat {MODEL}") } else { known(told.method).to_owned() },
        attributes,
        events: first.into_iter().collect(),
        failed,
    }
}

fn analysis(told: &Told<'_>) -> Option<String> {
    told.target.and_then(|target| target.id.as_deref()).map(str::to_owned)
}

/// A method that is somebody's invention is no attribute's value.
fn known(method: &Method) -> &'static str {
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD, Method::OPTIONS]
        .iter()
        .position(|known| known == method)
        .map_or("_OTHER", |at| ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"][at])
}
