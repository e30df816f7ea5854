//! What is said in a turn, as it is written down: read by every gateway, also by one of the next release.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::books::calls::Booking;
use crate::books::common::Figures;
use crate::books::kept::{read, written};
use crate::books::step::Step;
use crate::desk::{Ask, Moment, Retold, Settings, Ticket};
use crate::ledger::Correction;

/// A turn.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Body {
    /// What the gateway that took it goes by.
    pub(super) settings: Settings,
    /// What was said, in order.
    pub(super) words: Vec<Word>,
    /// What all gateways have the same behind it.
    pub(super) figures: Figures,
    /// What is booked: beside what was said, so that it can be booked again by whoever has this, should the database lose it.
    pub(super) entries: Vec<u8>,
    /// See [`Correction`].
    pub(super) corrections: Vec<Correction>,
}

/// One thing that was said, and what became of calls that waited: which, and whether it was let through.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Word {
    pub(super) said: What,
    pub(super) outcomes: Vec<(Ticket, bool)>,
    /// The desk's own time of the last call that was let through in its turn.
    pub(super) spaced: Option<Moment>,
}

/// What was said.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum What {
    /// A call asked, and was told this at once.
    Ask { ask: Box<Ask>, came: Option<(Ticket, Moment)>, booking: Booking, told: Retold },
    /// A place was given for a request of the gateway's own.
    Spare,
    /// Anything else.
    Step(Step),
}

/// When a turn is taken up: the desk's time of now, and when that was asked for by the process's own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) now: Moment,
    pub(super) wall: jiff::Timestamp,
    pub(super) asked: Instant,
}

impl Body {
    pub(super) fn write(&self) -> Vec<u8> {
        written(self)
    }

    /// Nothing where it is of a form that this program does not know.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        read(bytes)
    }
}
