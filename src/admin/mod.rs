//! The operators' listener: `/metrics`, `/livez`, `/readyz`, and the credits page with the data it shows.
//!
//! The page itself holds no data and is open; what it shows is answered to those that `access` lets in.

mod access;
mod overview;
mod page;
mod spend;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::credits::budget::{Budgets, Whose};
use crate::gateway::Gateway;
use crate::ledger::{Reader, Search};
use crate::route::Route;

/// Bound on a request head, and on idleness between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at the same time: scrapers, probes and a few open pages.
const MAX_CONNECTIONS: usize = 256;
/// Calls of one page, unless asked for otherwise, and at most.
const CALLS: usize = 50;
const MAX_CALLS: usize = 200;

/// Serves until `stop`, which comes after the last call has ended: operators watch the drain too.
pub async fn serve(listener: TcpListener, gateway: Gateway, stop: CancellationToken) {
    let (desk, room) = (Desk { gateway, reader: Arc::default() }, Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Without room a connection is closed: waiting in line would keep the probes waiting too.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (desk, stop) = (desk.clone(), stop.clone());
        tokio::spawn(async move {
            let _held = permit;
            let service = service_fn(move |request: Request<_>| {
                let (desk, head) = (desk.clone(), request.into_parts().0);
                async move { Ok::<_, Infallible>(desk.answer(&head, peer).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            stop.run_until_cancelled(builder.serve_connection(TokioIo::new(tcp), service)).await
        });
    }
}

/// Whatever answers operators.
#[derive(Clone)]
struct Desk {
    gateway: Gateway,
    /// Of its own, so that no caller waits for a page.
    reader: Arc<Mutex<Option<Reader>>>,
}

/// Why an operator gets no data.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Denied {
    TokenRequired,
    TokenInvalid,
    NotLoopback,
    Parameter(String),
    Unreadable,
}

impl Denied {
    const fn code(&self) -> &'static str {
        match self {
            Self::TokenRequired => "token_required",
            Self::TokenInvalid => "token_invalid",
            Self::NotLoopback => "loopback_only",
            Self::Parameter(_) => "invalid_parameter",
            Self::Unreadable => "ledger_unreadable",
        }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let (status, kind, message) = match self {
            Self::TokenRequired => (
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "This gateway wants its admin token: send it as `Authorization: Bearer …`.",
            ),
            Self::TokenInvalid => (
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "That is not this gateway's admin token. It may have been replaced.",
            ),
            Self::NotLoopback => (
                StatusCode::FORBIDDEN,
                "permission_error",
                "Without a token, credits are shown on the gateway's own machine alone, at http://localhost or a loopback address. Set `admin.token` in the configuration, or forward the port: ssh -L 9464:localhost:9464 HOST.",
            ),
            Self::Parameter(message) => (StatusCode::BAD_REQUEST, "invalid_request_error", message.as_str()),
            Self::Unreadable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded_error",
                "The ledger cannot be read at the moment; the gateway's log says why.",
            ),
        };
        let error = json!({ "message": message, "type": kind, "code": self.code(), "param": null });
        let mut response = document(&json!({ "error": error }));
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl Desk {
    async fn answer(&self, head: &Parts, peer: SocketAddr) -> Response<Full<Bytes>> {
        if head.method != Method::GET && head.method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match head.uri.path() {
            "/readyz" if self.gateway.draining.is_cancelled() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            // Every call that costs would be refused.
            "/readyz" if self.gateway.recorder.metrics().ledger_closed.get() != 0 => {
                text(StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be written\n")
            }
            "/livez" | "/readyz" => text(StatusCode::OK, "ok\n"),
            "/metrics" => metrics(&self.gateway),
            path if path.starts_with("/credits/") => {
                self.credits(head, peer).await.unwrap_or_else(|denied| denied.response())
            }
            path => page::asset(path)
                .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "there is /, /metrics, /livez and /readyz\n")),
        }
    }

    async fn credits(&self, head: &Parts, peer: SocketAddr) -> Result<Response<Full<Bytes>>, Denied> {
        access::check(head, peer, self.gateway.live.current().token.as_ref())?;
        let query = Query(head.uri.query().unwrap_or_default());
        match head.uri.path() {
            "/credits/overview" => Ok(document(&overview::of(&self.gateway))),
            "/credits/spend" => {
                let span = spend::Buckets::until_today(query.per()?, &self.gateway);
                let days = self.read(move |reader| reader.spend_by_day(span.span())).await?;
                Ok(document(&spend::of(&self.gateway, span, days)))
            }
            "/credits/requests" => {
                let search = query.search()?;
                let found = self.read(move |reader| reader.calls(&search)).await?;
                let at = self.gateway.recorder.clock().wall();
                Ok(document(&Requests { at, found }))
            }
            _ => Ok(text(
                StatusCode::NOT_FOUND,
                "there is /credits/overview, /credits/spend and /credits/requests\n",
            )),
        }
    }

    /// Reads the ledger where it keeps nobody waiting.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Denied> {
        let (shared, path) = (Arc::clone(&self.reader), Arc::clone(&self.gateway.books.path));
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if reader.is_none() {
                *reader = Some(Reader::open(&path)?);
            }
            let read = reader.as_ref().map(look).expect("it is open");
            if read.is_err() {
                // The file may have been replaced by hand; the next reading opens it again.
                *reader = None;
            }
            read
        });
        match read.await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot read the ledger for the credits page");
                Err(Denied::Unreadable)
            }
            Err(_) => Err(Denied::Unreadable),
        }
    }
}

/// The query of a request for data.
struct Query<'q>(&'q str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        pairs.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    }

    fn per(&self) -> Result<crate::credits::period::Period, Denied> {
        use crate::credits::period::Period;
        match self.get("per").as_deref() {
            None | Some("day") => Ok(Period::Day),
            Some("week") => Ok(Period::Week),
            Some("month") => Ok(Period::Month),
            Some(_) => Err(Denied::Parameter("`per` is day, week or month.".into())),
        }
    }

    fn search(&self) -> Result<Search, Denied> {
        let limit = self.number("limit")?.map_or(CALLS, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if !(1..=MAX_CALLS).contains(&limit) {
            return Err(Denied::Parameter(format!("`limit` is 1 to {MAX_CALLS}.")));
        }
        Ok(Search {
            team: self.get("team"),
            outcome: self.get("outcome"),
            id: self.get("id"),
            before: self.number("before")?,
            limit,
        })
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Denied> {
        self.get(name)
            .map(|text| {
                let number = text.parse().ok().filter(|number| *number >= 0);
                number.ok_or_else(|| Denied::Parameter(format!("`{name}` is a whole number.")))
            })
            .transpose()
    }
}

#[derive(Serialize)]
struct Requests {
    at: jiff::Timestamp,
    #[serde(flatten)]
    found: crate::ledger::Found,
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
    // Teams and budgets that a reload took away have no standing any more.
    metrics.forget_standings();
    metrics.credits_reserve.set(accounts.reserve(credits, Route::explained()).as_f64());
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

fn document(content: &impl Serialize) -> Response<Full<Bytes>> {
    // Its types have no map with keys that are not text, which is all that could fail.
    let text = serde_json::to_vec(content).unwrap_or_default();
    let mut response = Response::new(Full::from(text));
    let fields = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
