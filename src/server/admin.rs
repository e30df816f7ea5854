//! The operators' listener: `/metrics`, `/livez` and `/readyz`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::account::{Budgets, Whose};
use crate::gateway::Gateway;

/// Bound on a scraper's request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until `stop`, which comes after the last call has ended: operators watch the drain too.
pub async fn serve(listener: TcpListener, gateway: Gateway, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (gateway, stop) = (gateway.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &gateway);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            stop.run_until_cancelled(builder.serve_connection(TokioIo::new(tcp), service)).await
        });
    }
}

fn answer(request: &Request<Incoming>, gateway: &Gateway) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/readyz" if gateway.draining.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/livez" | "/readyz" => text(StatusCode::OK, "ok\n"),
        "/metrics" => metrics(gateway),
        _ => text(StatusCode::NOT_FOUND, "there is /metrics, /livez and /readyz\n"),
    }
}

fn metrics(gateway: &Gateway) -> Response<Full<Bytes>> {
    let metrics = gateway.recorder.metrics();
    let limit = gateway.live.current().config.upstream.requests_per_minute.get();
    metrics.upstream_window_used.set(i64::from(gateway.window.used()));
    metrics.upstream_window_limit.set(i64::from(limit));
    credits(gateway);
    let (content_type, body) = metrics.render();
    let mut response = Response::new(Full::from(body));
    if let Ok(value) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// Brings the gauges of the accounts up to date.
fn credits(gateway: &Gateway) {
    let (metrics, accounts) = (gateway.recorder.metrics(), &gateway.books.accounts);
    let snapshot = gateway.live.current();
    let credits = &snapshot.config.credits;
    let teams = snapshot
        .directory
        .teams()
        .iter()
        .map(|team| (&*team.name, Whose::Team(Arc::clone(&team.name)), team.budget));
    for (name, whose, budget) in teams.chain([("organisation", Whose::Organisation, credits.budget)]) {
        metrics.holds(name, accounts.held(&whose));
        let budgets = Budgets(budget.map(|budget| (whose, budget)).into_iter().collect());
        for standing in accounts.standings(&budgets, &credits.zone) {
            metrics.budget_stands(name, &standing);
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
