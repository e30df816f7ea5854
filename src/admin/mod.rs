//! The operators' listener: `/metrics`, `/livez`, `/readyz`, the credits page with the data it shows, and what is done to caller
//! keys.
//!
//! The page itself holds no data and is open; what it shows is answered to those that `access` lets in.

mod answers;
mod access;
mod callers;
mod grants;
mod keys;
pub mod board;
mod overview;
mod page;
mod spend;
mod query;
mod look;
mod tables;

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;

use self::answers::{Denied, document, text};
use self::board::Board;
use self::look::Asked;
use self::query::{CALLS, MAX_CALLS};
use crate::credits::period::Period;
use crate::ledger::{Reads, home};

/// Whatever answers operators.
#[derive(Clone)]
pub struct Desk {
    board: Board,
    /// Of its own, so that no caller waits for a page.
    reads: Reads,
}

impl Desk {
    /// Answers from what the board shows.
    #[must_use]
    pub fn new(board: Board) -> Self {
        Self { reads: home::reads(&board.live.current().config.ledger), board }
    }

    /// The answer to a request from `peer`.
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, body) = request.into_parts();
        match keys::Asked::of(head.uri.path()) {
            Some(asked) => self.keys(&head, asked, body).await.unwrap_or_else(|denied| denied.response()),
            // Nothing else here has a use for a body.
            None => self.look(&head, peer).await,
        }
    }

    async fn keys<B>(
        &self,
        head: &Parts,
        asked: keys::Asked<'_>,
        body: B,
    ) -> Result<Response<Full<Bytes>>, Denied>
    where
        B: Body<Data = Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let by = keys::operator(&self.board, head).await?;
        match (&asked, &head.method) {
            (keys::Asked::All, &Method::GET | &Method::HEAD) => self.callers().await,
            (keys::Asked::All | keys::Asked::Rotate(_), &Method::POST)
            | (keys::Asked::Key(_), &Method::PUT | &Method::DELETE) => {
                keys::change(&self.board, (head, asked), body, by).await
            }
            _ => Ok(not_allowed(asked.allow())),
        }
    }

    /// Who may call, and what each has done.
    async fn callers(&self) -> Result<Response<Full<Bytes>>, Denied> {
        let [month, _] = spend::periods(Period::Month, self.board.today());
        let uses = look::read(&self.reads, move |reading| reading.uses(month)).await?;
        Ok(document(&callers::of(&self.board, month, uses)))
    }

    async fn look(&self, head: &Parts, peer: SocketAddr) -> Response<Full<Bytes>> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return not_allowed("GET, HEAD");
        }
        match head.uri.path() {
            "/readyz" if self.board.shutdown.draining.is_cancelled() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            // Every call that costs would be refused.
            "/readyz" if self.board.books.counts.is_closed() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be written\n")
            }
            "/livez" | "/readyz" => text(StatusCode::OK, "ok\n"),
            "/metrics" => scrape(&self.board),
            path if path.starts_with("/credits/") => {
                self.credits(head, peer).await.unwrap_or_else(|denied| denied.response())
            }
            path => page::asset(path)
                .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "there is /, /metrics, /livez and /readyz\n")),
        }
    }

    async fn credits(&self, head: &Parts, peer: SocketAddr) -> Result<Response<Full<Bytes>>, Denied> {
        access::check(head, peer, self.board.live.current().token.as_ref())?;
        let named = head.uri.path().trim_start_matches("/credits/");
        if named == "overview" {
            return Ok(document(&overview::of(&self.board)));
        }
        let table = named.strip_suffix(".csv").filter(|name| tables::is_one(name));
        // A page has room for some, and a file for all that one look finds.
        let calls = if table.is_some() { MAX_CALLS } else { CALLS };
        let asked = Asked::of(head, &self.board, calls)?;
        if named == "look" {
            return Ok(document(&look::at(&self.board, &self.reads, asked).await));
        }
        if let Some(name) = table {
            return tables::table(name, look::at(&self.board, &self.reads, asked).await);
        }
        if !look::PARTS.contains(&named) {
            return Ok(text(StatusCode::NOT_FOUND, nothing_of_that_name()));
        }
        let booked = look::booked(&self.board, &self.reads, asked).await?;
        Ok(document(&booked.part(named)))
    }
}

/// What there is below `/credits/`.
fn nothing_of_that_name() -> String {
    let tables = tables::names().map(|name| format!("{name}.csv")).collect::<Vec<_>>().join(" ");
    format!("below /credits/ there is: look overview {} {tables}\n", look::PARTS.join(" "))
}

fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "another method is needed; see Allow\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn scrape(board: &Board) -> Response<Full<Bytes>> {
    let (content_type, body) = board.scrape();
    let mut response = Response::new(Full::from(body));
    if let Ok(value) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}
