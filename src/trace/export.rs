//! Sending spans to a collector over OTLP/HTTP, in batches, on a thread of its own. What the collector does not take in
//! time is dropped and said; no call waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor};
use tokio::runtime::Handle;

use super::Tracer;
use crate::config::Tracing;
use crate::outbound::ask::{Bounds, ask};
use crate::outbound::connect::Tcp;
use crate::outbound::origin::Origin;

/// Spans that wait to be sent; more are dropped.
const QUEUE: usize = 8192;
/// Spans of one request.
const BATCH: usize = 512;
/// How long spans wait for company.
const EVERY: Duration = Duration::from_secs(2);
/// What the collector may take over one request.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), bytes: 64 << 10 };

impl Tracer {
    /// Starts sending spans to the collector of a configuration. Connections are driven by the runtime of `handle`.
    ///
    /// # Errors
    /// In words, why it cannot be used.
    pub fn start(settings: &Tracing, handle: Handle) -> Result<Self, String> {
        let origin = Origin::new(&settings.endpoint, None).map_err(|error| error.to_string())?;
        let client = Collector { origin: Arc::new(origin), handle, failing: Arc::default() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}/v1/traces", settings.endpoint.to_string().trim_end_matches('/')))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(BOUNDS.time)
            .build()
            .map_err(|error| error.to_string())?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        processor.set_resource(&resource);
        Ok(Self::new(Arc::new(processor), settings.sample_ratio))
    }
}

/// The collector, one connection per batch.
#[derive(Clone, Debug)]
struct Collector {
    origin: Arc<Origin>,
    /// Where connections are driven: the exporter's thread has no event loop.
    handle: Handle,
    failing: Arc<AtomicBool>,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let origin = Arc::clone(&self.origin);
        let sent = self.handle.spawn(async move {
            let (mut head, body) = request.into_parts();
            head.uri = head.uri.path_and_query().cloned().ok_or("an endpoint has a path")?.into();
            ask(&Tcp, &origin, Request::from_parts(head, Full::new(body)), BOUNDS)
                .await
                .map_err(HttpError::from)
        });
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(error) => Err(error.into()),
        };
        self.say(&answer);
        answer
    }
}

impl Collector {
    /// Once when it begins to fail, and once when it is over.
    fn say(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let problem = match answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let failed = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed => {
                let (host, port) = self.origin.address();
                tracing::warn!(
                    host,
                    port,
                    problem,
                    "spans cannot be sent to the collector; they are dropped until they can"
                );
            }
            None if failed => tracing::info!("spans are sent to the collector again"),
            _ => {}
        }
    }
}
