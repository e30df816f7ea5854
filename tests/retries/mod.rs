//! Retries, charged once: what becomes of a call that is made again, with a key and without.

mod adoption;
mod bounds;
mod clients;
mod copies;
mod restart;
mod states;
mod told;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mavera_gateway::credits::Credits;
use mavera_gateway::ledger::{Adjustment, Span, home};
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::rig::{Answer, Rig, Setup};
use crate::support::script::{Received, read_request, write};

/// A request with a key.
fn keyed(mut request: Request<Full<Bytes>>, key: &str) -> Request<Full<Bytes>> {
    request.headers_mut().insert("idempotency-key", HeaderValue::from_str(key).unwrap());
    request
}

/// Sends a request on a connection of its own, of either protocol, up to the head of its answer.
fn ask(
    rig: &Rig,
    request: Request<Full<Bytes>>,
    http2: bool,
) -> impl Future<Output = Response<Incoming>> + Send + use<> {
    let io = TokioIo::new(rig.raw());
    async move {
        if !http2 {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            return sender.send_request(request).await.unwrap();
        }
        let executor = TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let (mut head, body) = request.into_parts();
        head.uri = format!("http://gateway{}", head.uri).parse().unwrap();
        head.headers.remove("host");
        sender.send_request(Request::from_parts(head, body)).await.unwrap()
    }
}

/// The same, on a task of its own, to the end of the answer.
fn asks(rig: &Rig, request: Request<Full<Bytes>>, http2: bool) -> JoinHandle<Answer> {
    let asked = ask(rig, request, http2);
    tokio::spawn(async move { Answer::read(asked.await).await })
}

/// An upstream that writes one piece of its answer after the other, as it is told to.
struct Steps {
    received: Received,
    to: watch::Sender<usize>,
}

impl Steps {
    /// The answer goes on to this piece.
    fn to(&self, piece: usize) {
        self.to.send_replace(piece);
    }

    fn requests(&self) -> usize {
        self.received.requests().len()
    }
}

/// A gateway in front of one that answers every request with these pieces.
fn stepwise(setup: &Setup, pieces: Vec<Vec<u8>>) -> (Rig, Steps) {
    let (received, (to, told)) = (Received::default(), watch::channel(0));
    let log = received.clone();
    let rig = Rig::with_upstream(setup, move |mut io: DuplexStream, _| {
        let (log, mut told, pieces) = (log.clone(), told.clone(), pieces.clone());
        async move {
            while let Some(request) = read_request(&mut io).await {
                log.push(request);
                for (at, piece) in pieces.iter().enumerate() {
                    if told.wait_for(|to| *to > at).await.is_err() {
                        return;
                    }
                    write(&mut io, piece).await;
                }
            }
        }
    });
    (rig, Steps { received, to })
}

/// Whatever can be done now is done.
async fn breathe() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// What is booked: settled and estimated together, and how many calls were.
async fn booked(rig: &Rig) -> (f64, u64) {
    let spends = rig.gateway.books.reads.look(|reading| reading.spends(Span::ALL)).await.unwrap();
    let credits = spends.iter().map(|spend| spend.credits().as_f64()).sum();
    (credits, spends.iter().map(|spend| spend.calls).sum())
}

/// What copies have saved, and how many they were.
async fn saved(rig: &Rig) -> (f64, u64) {
    let savings = rig.gateway.books.reads.look(|reading| reading.savings(Span::ALL)).await.unwrap();
    let credits = savings.iter().map(|saving| saving.credits.as_f64()).sum();
    (credits, savings.iter().map(|saving| saving.copies).sum())
}

/// Corrects what a call was booked at, as `credits reconcile` does.
fn correct(rig: &Rig, response_id: &str, credits: u64) {
    let settings = rig.gateway.live.current().config.ledger.clone();
    let mut booked = home::reading(&settings).unwrap().booked_by_response().unwrap();
    let adjustment = Adjustment {
        booked: booked.remove(response_id).unwrap(),
        figure: Credits::whole(credits),
        reason: "reconciled".into(),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    home::upkeep(&settings).unwrap().adjust(&[adjustment]).unwrap();
}

/// How many calls came to this.
fn counted(rig: &Rig, result: &str) -> u64 {
    let series = format!("mavera_gateway_retries_total{{result=\"{result}\",team=\"growth\"}} ");
    let metrics = rig.metrics();
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap()
}

/// The records of calls, by what became of them.
fn records(rig: &Rig, retry: &str) -> Vec<Value> {
    rig.records().into_iter().filter(|record| record["retry"] == retry).collect()
}
