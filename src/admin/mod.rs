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
mod query;
mod spend;

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;

use self::answers::{Denied, document, text};
use self::board::Board;
use self::keys::Asked;
use self::query::Query;
use crate::ledger::{LedgerError, Reading, Reads, home};

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
        match Asked::of(head.uri.path()) {
            Some(asked) => self.keys(&head, asked, body).await.unwrap_or_else(|denied| denied.response()),
            // Nothing else here has a use for a body.
            None => self.look(&head, peer).await,
        }
    }

    async fn keys<B>(&self, head: &Parts, asked: Asked<'_>, body: B) -> Result<Response<Full<Bytes>>, Denied>
    where
        B: Body<Data = Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let by = keys::operator(&self.board, head).await?;
        match (&asked, &head.method) {
            (Asked::All, &Method::GET | &Method::HEAD) => self.callers().await,
            (Asked::All | Asked::Rotate(_), &Method::POST)
            | (Asked::Key(_), &Method::PUT | &Method::DELETE) => {
                keys::change(&self.board, (head, asked), body, by).await
            }
            _ => Ok(not_allowed(asked.allow())),
        }
    }

    /// Who may call, and what each has done.
    async fn callers(&self) -> Result<Response<Full<Bytes>>, Denied> {
        let since = callers::month(&self.board);
        let uses = self.read(move |reading| reading.uses(since)).await?;
        Ok(document(&callers::of(&self.board, since, uses)))
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
        let query = Query(head.uri.query().unwrap_or_default());
        match head.uri.path() {
            "/credits/overview" => Ok(document(&overview::of(&self.board))),
            "/credits/spend" => {
                let span = spend::Buckets::until_today(query.per()?, &self.board);
                let days = self.read(move |reader| reader.spend_by_day(span.span())).await?;
                Ok(document(&spend::of(&self.board, span, days)))
            }
            "/credits/callers" => self.callers().await,
            "/credits/grants" => {
                let today = grants::today(&self.board);
                let entered = self.read(move |reader| reader.grants_of_all(today)).await?;
                Ok(document(&grants::of(&self.board, entered)))
            }
            "/credits/requests" => {
                let search = query.search()?;
                let found = self.read(move |reader| reader.calls(&search)).await?;
                let at = self.board.now();
                Ok(document(&Requests { at, found }))
            }
            _ => Ok(text(
                StatusCode::NOT_FOUND,
                "there is /credits/overview, /credits/spend, /credits/requests, /credits/callers and /credits/grants\n",
            )),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Reading) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Denied> {
        self.reads.look(look).await.map_err(|error| {
            tracing::warn!(%error, "cannot read the ledger for the credits page");
            Denied::Unreadable
        })
    }
}

#[derive(Serialize)]
struct Requests {
    at: jiff::Timestamp,
    #[serde(flatten)]
    found: crate::ledger::Found,
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
