//! Tracing: which calls are traced, what their spans are, and how they reach a collector.
//!
//! A call that is traced carries its ids and what its stages took from its first moment to its record; the spans are
//! made when the record is, all at once, and handed to a bounded queue. A gateway without a collector has no
//! [`Tracer`], and its calls carry nothing.

pub(crate) mod context;
mod export;

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::{InstrumentationScope, SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanProcessor};
use tokio::time::Instant;

use self::context::{Parent, TRACEPARENT, TRACESTATE};
use crate::outbound::origin::Origin;

/// Decides which calls are traced, and takes their spans.
#[derive(Clone)]
pub struct Tracer {
    processor: Arc<dyn SpanProcessor>,
    scope: InstrumentationScope,
    ids: RandomIdGenerator,
    sample_ratio: f64,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sample_ratio", &self.sample_ratio).finish_non_exhaustive()
    }
}

impl Tracer {
    /// A tracer that hands spans to `processor`.
    fn new(processor: Arc<dyn SpanProcessor>, sample_ratio: f64) -> Self {
        let scope =
            InstrumentationScope::builder("mavera-gateway").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { processor, scope, ids: RandomIdGenerator::default(), sample_ratio }
    }

    /// Opens the trace of a request, if it is to be traced: the caller's `traceparent` decides, and the ratio where
    /// there is none.
    #[must_use]
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Box<Trace>> {
        let parent = Parent::of(headers);
        let trace = parent.map_or_else(|| self.ids.new_trace_id(), |parent| parent.trace);
        if !parent.map_or_else(|| self.samples(trace), |parent| parent.sampled) {
            return None;
        }
        Some(Box::new(Trace {
            id: trace,
            parent: parent.map(|parent| parent.span),
            server: self.ids.new_span_id(),
            client: self.ids.new_span_id(),
            stages: Vec::with_capacity(4),
            upstream: None,
        }))
    }

    /// The lower half of a trace's id against the ratio, so that all who see the trace decide alike.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a ratio of 2^63 need not be exact"
    )]
    fn samples(&self, trace: TraceId) -> bool {
        let [_, _, _, _, _, _, _, _, low @ ..] = trace.to_bytes();
        let bound = (self.sample_ratio * (1u64 << 63) as f64) as u64;
        u64::from_be_bytes(low) >> 1 < bound
    }

    /// Takes the spans of a call that has ended.
    pub(crate) fn end(&self, spans: Vec<SpanData>) {
        for span in spans {
            self.processor.on_end(span);
        }
    }

    /// What makes the spans.
    pub(crate) fn scope(&self) -> InstrumentationScope {
        self.scope.clone()
    }

    /// An id for a span.
    pub(crate) fn new_span_id(&self) -> SpanId {
        self.ids.new_span_id()
    }

    /// Sends what is queued, for some seconds at most. Blocks.
    pub fn shutdown(&self) {
        if let Err(error) = self.processor.shutdown() {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// The trace of one call.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// The caller's span.
    pub(crate) parent: Option<SpanId>,
    /// Ours, for the whole call.
    pub(crate) server: SpanId,
    /// Ours, for the exchange with the upstream.
    pub(crate) client: SpanId,
    pub(crate) stages: Vec<Stage>,
    /// Where the exchange went.
    pub(crate) upstream: Option<Arc<Origin>>,
}

/// What one stage took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

impl Trace {
    /// Notes what a stage took.
    pub(crate) fn stage(&mut self, name: &'static str, began: Instant, ended: Instant) {
        self.stages.push(Stage { name, began, ended });
    }

    /// Notes where the exchange goes.
    pub(crate) fn sent_to(&mut self, origin: &Arc<Origin>) {
        self.upstream = Some(Arc::clone(origin));
    }

    /// Puts this call into the head of a request to the upstream. The caller's own state goes with it only if the
    /// trace is the caller's.
    pub(crate) fn propagate(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, context::traceparent(self.id, self.client));
        if self.parent.is_none() {
            headers.remove(TRACESTATE);
        }
    }
}
