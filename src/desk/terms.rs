//! What is said at the desk: what a call asks for, what it is given, and why it is not.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::accounts::BookedOn;
use super::upstream::Trouble;
use super::window::{Moment, Tick};
use crate::credits::budget::{Budget, Budgets, Tally, Whose};
use crate::credits::{Credits, millionths};

/// What holds for all calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The plan's window.
    pub per_minute: NonZeroU32,
    /// The part of it that is kept for whoever comes anew.
    pub reserve: f64,
    /// Calls of one team that may wait.
    pub waiting: usize,
    /// Whether calls wait for their turn at all. Where they do not, whoever comes is served while there are places.
    pub queues: bool,
    /// How long a place may be kept before its request is written: its time in the window is as much longer until that is told.
    pub grace: Duration,
}

/// How long a call can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// For its turn.
    pub turn: Duration,
    /// For credits that others hold.
    pub credits: Duration,
    /// For both together.
    pub most: Duration,
}

/// What may be under way of a route at once: calls, or the jobs that they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// As many as the upstream takes.
    pub calls: NonZeroUsize,
    /// As many of them as the team may have, where that is less.
    pub team: Option<NonZeroUsize>,
}

/// What a call asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Which of several gateways it has come to; 0 where there is one.
    pub owner: u32,
    /// Whose turn it takes.
    pub team: Arc<str>,
    /// The team's claim beside the others'.
    pub weight: NonZeroU32,
    /// The key that it is booked on.
    pub key_id: Arc<str>,
    /// Which route it is of, by its number.
    pub route: usize,
    /// Whether it costs credits.
    pub costs: bool,
    /// What to hold for it.
    #[serde(with = "millionths")]
    pub reserve: Credits,
    /// Every budget that binds.
    pub budgets: Budgets,
    /// What its route is held to.
    pub cap: Option<Cap>,
    /// How long it can wait.
    pub patience: Patience,
}

impl Ask {
    /// Whose accounts it is booked on.
    pub(super) fn booked_on(&self) -> BookedOn<'_> {
        BookedOn { team: &self.team, key_id: &self.key_id, route: Some(self.route) }
    }

    /// Its route, where that is held to something.
    pub(super) fn capped(&self) -> Option<usize> {
        self.cap.map(|_| self.route)
    }
}

/// The order in which calls came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub(super) u64);

/// What a call was given.
#[derive(Clone, Debug)]
pub struct Granted {
    /// What it had asked for.
    pub ask: Ask,
    /// When it came.
    pub ticket: Ticket,
    /// And the moment.
    pub joined: Moment,
    /// Until when its place is its own.
    pub tick: Tick,
    /// The day it is booked on.
    pub day: Date,
    /// What the tightest budget has left with it counted, where one binds.
    pub left: Option<Credits>,
}

/// Why there is no place in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The upstream wants to be left alone.
    Closed {
        /// Until then.
        until: Moment,
    },
    /// As many are taken as there are, for longer than the call can wait.
    Full {
        /// The limit in force.
        per_minute: u32,
        /// Which in the order of turns the call is, from 1.
        position: usize,
        /// When it would be its turn at the earliest.
        from: Moment,
    },
}

/// Why a call is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// There is no place for it.
    Place(NoPlace),
    /// The upstream cannot serve it.
    Upstream {
        /// Why not.
        trouble: Trouble,
        /// When a call is let through to look.
        look: Moment,
    },
    /// As many calls of its team wait as may.
    QueueFull {
        /// How many.
        waiting: usize,
        /// When it would be its turn at the earliest.
        from: Moment,
    },
    /// As many are under way of its route as may be.
    RouteFull {
        /// How many.
        calls: NonZeroUsize,
        /// Whether it is the team's own bound.
        of_team: bool,
    },
    /// A budget has no room for it.
    Short {
        /// Whose.
        whose: Whose,
        /// Which.
        budget: Budget,
        /// How it stands.
        tally: Tally,
    },
}

/// What becomes of a call that asks.
#[derive(Debug)]
pub enum Verdict {
    /// It may go.
    Granted(Box<Granted>),
    /// It waits; [`Desk::turn`](super::Desk::turn) tells what becomes of it.
    Waits(Ticket),
    /// It is not served.
    Refused(Box<Refused>),
}

/// A call that is not served.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What it had asked for.
    pub ask: Ask,
    /// Why not.
    pub no: No,
}

/// What became of a call that waited.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub ticket: Ticket,
    /// When it had come.
    pub joined: Moment,
    /// Whether it may go.
    pub verdict: Result<Box<Granted>, Box<Refused>>,
}

impl Outcome {
    pub(super) fn granted(granted: Box<Granted>) -> Self {
        Self { ticket: granted.ticket, joined: granted.joined, verdict: Ok(granted) }
    }
}
