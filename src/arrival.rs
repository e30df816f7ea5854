//! A request as it came, and what may become of it: every stage takes the struct of the one before and adds what it found
//! out, by type. Nothing travels in a bag of extensions, and a stage cannot be left out without the next failing to compile.

use std::sync::Arc;

use http::Request;

use crate::head::received::Received;
use crate::live::Snapshot;
use crate::peer::Peer;
use crate::record::Exchange;
use crate::refuse::Refusal;

/// A request as it came off a connection.
#[derive(Debug)]
pub struct Call<B> {
    /// Who is on the other end.
    pub peer: Arc<Peer>,
    /// The request.
    pub request: Request<B>,
}

/// A request as it came, with the record that was opened for it.
pub struct Arrival<B> {
    /// Who is on the other end.
    pub peer: Arc<Peer>,
    /// Goes with the call to its end.
    pub exchange: Exchange,
    /// The configuration this call is served under, whatever a reload does meanwhile.
    pub snapshot: Arc<Snapshot>,
    /// The head as the caller wrote it. Boxed: it goes through many hands.
    pub head: Box<Received>,
    /// The body, unread.
    pub body: B,
}

/// A refusal on its way out, with the record it will end.
#[derive(Debug)]
pub struct Refused {
    /// Ends when the refusal is written.
    pub exchange: Exchange,
    /// Why. Boxed: refusals are rare, and every stage's result carries the room for one.
    pub refusal: Box<Refusal>,
}

impl Refused {
    /// Refuses the call that `exchange` records.
    pub fn new(exchange: Exchange, refusal: Refusal) -> Self {
        Self { exchange, refusal: Box::new(refusal) }
    }
}
