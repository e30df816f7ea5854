//! Spans, as an OTLP receiver gets them, and trace context on its way through.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup};
use crate::support::rig::chat_path;
use crate::support::{assert_no_canary, chat_body};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const QUESTION: &str = "Which moment loses viewers?";

/// A collector: what it was sent, raw and read.
#[derive(Clone, Default)]
struct Collector {
    raw: Arc<Mutex<Vec<u8>>>,
    spans: Arc<Mutex<Vec<Span>>>,
    resource: Arc<Mutex<HashMap<String, Any>>>,
}

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let (collector, listener) =
            (Self::default(), tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let shared = collector.clone();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let collector = shared.clone();
                let service = service_fn(move |request| {
                    let collector = collector.clone();
                    async move { Ok::<_, Infallible>(collector.take(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service),
                );
            }
        });
        (collector, address)
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.raw.lock().unwrap().extend_from_slice(&body);
        for of_resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            *self.resource.lock().unwrap() = attributes(&of_resource.resource.unwrap().attributes);
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
        Response::new(Full::default())
    }

    /// The one span of that name.
    fn span(&self, name: &str) -> Span {
        let spans = self.spans.lock().unwrap();
        let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
        assert_eq!(found.len(), 1, "{name} in {names:?}");
        found[0].clone()
    }
}

fn attributes(pairs: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> HashMap<String, Any> {
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), pair.value.clone().and_then(|any| any.value).expect("a value")))
        .collect()
}

fn text(value: &str) -> Any {
    Any::StringValue(value.to_owned())
}

async fn call(pair: &Pair, fields: &[(&str, &str)], body: String) -> u16 {
    let tcp = tokio::net::TcpStream::connect(pair.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::post(chat_path())
        .header("host", pair.address.to_string())
        .header("authorization", format!("Bearer {}", pair.key))
        .header("content-type", "application/json");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let _ = answer.into_body().collect().await;
    connection.abort();
    status
}

/// What the upstream received of that field, by call.
fn received(pair: &Pair, field: &str) -> Vec<Option<String>> {
    let books = pair.books();
    books["received"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| {
            let fields = request["headers"].as_array().unwrap();
            fields.iter().find(|pair| pair[0] == field).map(|pair| pair[1].as_str().unwrap().to_owned())
        })
        .collect()
}

fn traced(endpoint: SocketAddr, more: &str) -> String {
    format!("[tracing]\nendpoint = \"http://{endpoint}\"\n{more}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_traced_call_has_a_span_for_itself_its_stages_and_its_exchange() {
    let (collector, address) = Collector::start().await;
    let mut pair = Pair::start(&PairSetup { server: &traced(address, ""), ..PairSetup::default() });
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let fields =
        [("traceparent", traceparent.as_str()), ("tracestate", "vendor=value"), ("x-request-id", "r-1")];
    assert_eq!(call(&pair, &fields, chat_body(true, "")).await, 200);
    let (sent, state) = (received(&pair, "traceparent"), received(&pair, "tracestate"));
    let charged = pair.books()["received"][0]["charged"].as_u64().unwrap();
    pair.stop();

    let server = collector.span("POST /api/v1/video-analyses/{id}/chat");
    let client = collector.span("chat mavera-1");
    assert_eq!((server.kind, client.kind), (SpanKind::Server as i32, SpanKind::Client as i32));
    assert_eq!(hex::encode(&server.parent_span_id), CALLER);
    for span in collector.spans.lock().unwrap().iter() {
        assert_eq!(hex::encode(&span.trace_id), TRACE);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano);
        if span.span_id != server.span_id {
            assert_eq!(span.parent_span_id, server.span_id, "{}", span.name);
        }
    }
    for stage in ["read body", "wait for a turn", "connect"] {
        assert_eq!(collector.span(stage).kind, SpanKind::Internal as i32);
    }
    let expected = format!("00-{TRACE}-{}-01", hex::encode(&client.span_id));
    assert_eq!(sent, [Some(expected)], "the upstream's spans belong below our exchange");
    assert_eq!(state, [Some("vendor=value".to_owned())]);

    let told = attributes(&server.attributes);
    for (key, value) in [
        ("http.request.method", text("POST")),
        ("http.route", text("/api/v1/video-analyses/{id}/chat")),
        ("http.response.status_code", Any::IntValue(200)),
        ("network.protocol.version", text("1.1")),
        ("mavera_gateway.request_id", text("r-1")),
        ("mavera_gateway.team", text("growth")),
        ("mavera_gateway.outcome", text("completed")),
    ] {
        assert_eq!(told.get(key), Some(&value), "{key}");
    }
    let told = attributes(&client.attributes);
    for (key, value) in [
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.provider.name", text("mavera")),
        ("gen_ai.request.model", text("mavera-1")),
        ("http.response.status_code", Any::IntValue(200)),
        ("server.address", text("127.0.0.1")),
        ("server.port", Any::IntValue(pair.simulator_address.port().into())),
        ("mavera_gateway.credits.reserved", Any::DoubleValue(5.0)),
        ("mavera_gateway.credits.booked", Any::DoubleValue(charged as f64)),
        ("mavera_gateway.credits.basis", text("final")),
    ] {
        assert_eq!(told.get(key), Some(&value), "{key}");
    }
    for counted in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        assert!(matches!(told.get(counted), Some(Any::IntValue(1..))), "{counted}: {told:?}");
    }
    assert!(matches!(told.get("gen_ai.response.id"), Some(Any::StringValue(id)) if id.starts_with("resp_")));
    assert_eq!(client.events[0].name, "response head");
    assert_eq!(collector.resource.lock().unwrap().get("service.name"), Some(&text("mavera-gateway")));

    // Nothing of a body, and no secret.
    let raw = collector.raw.lock().unwrap();
    assert_no_canary("the spans", &raw);
    for secret in [QUESTION, &pair.key, "Bearer"] {
        assert!(!raw.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_told_by_its_spans() {
    let (collector, address) = Collector::start().await;
    let mut pair = Pair::start(&PairSetup { server: &traced(address, ""), ..PairSetup::default() });
    assert_eq!(call(&pair, &[("x-request-id", "bad")], "{}".into()).await, 400);
    assert_eq!(call(&pair, &[("x-request-id", "broken")], chat_body(false, "answer=500")).await, 500);
    assert_eq!(chat(pair.address, "mvgw_unknown0_x", chat_body(false, "")).await.unwrap().status, 401);
    pair.stop();
    let spans = collector.spans.lock().unwrap().clone();
    let of = |id: &str| {
        let told =
            |span: &&Span| attributes(&span.attributes).get("mavera_gateway.request_id") == Some(&text(id));
        spans.iter().find(told).unwrap()
    };
    let bad = of("bad");
    assert_eq!(attributes(&bad.attributes).get("error.type"), Some(&text("missing_field")));
    assert_eq!(
        bad.status.as_ref().map_or(0, |status| status.code),
        0,
        "a caller's error is none of the server's"
    );
    let broken = of("broken");
    assert_eq!(broken.status.as_ref().unwrap().code, 2);
    let exchange =
        spans.iter().find(|span| span.parent_span_id == broken.span_id && span.name == "chat mavera-1");
    assert_eq!(attributes(&exchange.unwrap().attributes).get("error.type"), Some(&text("500")));
    // Each is a trace of its own, and only one of them got as far as the upstream.
    assert_eq!(spans.iter().filter(|span| span.kind == SpanKind::Client as i32).count(), 1);
    let traces: std::collections::HashSet<_> = spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_decides_whether_a_call_is_traced_and_the_ratio_where_it_does_not() {
    let (collector, address) = Collector::start().await;
    let server = traced(address, "sample_ratio = 0.0");
    let mut pair = Pair::start(&PairSetup { server: &server, ..PairSetup::default() });
    let unsampled = format!("00-{TRACE}-{CALLER}-00");
    let sampled = format!("00-{TRACE}-{CALLER}-01");
    for traceparent in [unsampled.as_str(), "no trace context at all", sampled.as_str()] {
        assert_eq!(call(&pair, &[("traceparent", traceparent)], chat_body(false, "")).await, 200);
    }
    assert_eq!(call(&pair, &[], chat_body(false, "")).await, 200);
    let sent = received(&pair, "traceparent");
    pair.stop();
    assert_eq!(sent[0], Some(unsampled), "what is not ours goes on as it came");
    assert!(sent[2].as_ref().is_some_and(|sent| sent.contains(TRACE) && !sent.contains(CALLER)), "{sent:?}");
    assert_eq!(sent[3], None);
    let spans = collector.spans.lock().unwrap();
    assert!(!spans.is_empty() && spans.iter().all(|span| hex::encode(&span.trace_id) == TRACE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_costs_no_call_and_is_said_once() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut pair = Pair::start(&PairSetup { server: &traced(address, ""), ..PairSetup::default() });
    for _ in 0..3 {
        assert_eq!(call(&pair, &[], chat_body(false, "")).await, 200);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pair.stop();
    let said = pair.gateway.output().matches("spans cannot be sent to the collector").count();
    assert_eq!(said, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_trace_context_goes_through_as_it_came() {
    let pair = Pair::start(&PairSetup::default());
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    assert_eq!(call(&pair, &[("traceparent", &traceparent)], chat_body(false, "")).await, 200);
    assert_eq!(received(&pair, "traceparent"), [Some(traceparent)]);
}
