//! What is written into a ledger: holds, their endings, grants and corrections, as the rest of the program knows them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::meter::Usage;
use crate::metrics::OTHER;
use crate::refuse::Code;
use crate::route::{Route, Thing};

/// Joins the entries of one call. Ours, because request ids may be the callers' and need not be unique.
pub type CallId = i64;

/// Whom a call is booked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Name of the team.
    pub team: Arc<str>,
    /// Public id of the key.
    pub key_id: Arc<str>,
    /// The route; none where it is one that this program does not know.
    pub route: Option<Route>,
}

impl Account {
    /// As a row has it.
    #[must_use]
    pub fn of(team: &str, key_id: &str, route: &str) -> Self {
        Self { team: team.into(), key_id: key_id.into(), route: Route::named(route) }
    }

    /// The route's name.
    #[must_use]
    pub fn route_label(&self) -> &'static str {
        self.route.map_or(OTHER, Route::label)
    }
}

/// A hold to be written before its call may be sent.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// The call.
    pub call: CallId,
    /// Whom it is booked on.
    pub account: Account,
    /// The id that the caller sees.
    pub request_id: Box<str>,
    /// What is held.
    pub reserve: Credits,
    /// When.
    pub at: Timestamp,
    /// The calendar day it is booked on, in the configured zone; its ending is booked on the same.
    pub day: Date,
    /// What tells its retries from other calls, where something does.
    pub retry: Option<Box<Retry>>,
}

/// What a call and its retries have in common: digests of the key that names it, and of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `bookings`")]
pub struct Retry {
    pub key: [u8; 32],
    pub fingerprint: [u8; 32],
}

/// The ending of a hold.
#[derive(Clone, Debug)]
pub struct NewEnding {
    /// The call.
    pub call: CallId,
    /// Whom it is booked on.
    pub account: Account,
    /// What was held.
    pub reserve: Credits,
    /// When it ended.
    pub at: Timestamp,
    /// When it was sent upstream, if it was.
    pub sent_at: Option<Timestamp>,
    /// How the call ended, as its record says.
    pub outcome: &'static str,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// What the upstream reported.
    pub usage: Usage,
    /// What is booked.
    pub ending: Ending,
}

/// Why a hold is voided of a call that never left for the upstream: it was none, for whoever counts calls.
pub const NEVER_SENT: &str = "never_sent";

/// The one ending that a hold has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The credits are spent.
    Settled {
        /// How many.
        credits: Credits,
        /// Whether the upstream said so.
        basis: Basis,
        /// Why, where it is not what the answer said.
        reason: &'static str,
    },
    /// The credits are free again: the upstream provably did no work that is charged.
    Voided {
        /// What proves it.
        reason: &'static str,
    },
}

/// What a settled figure rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// The upstream's own figure.
    Final,
    /// The reserve, because there is no figure. In doubt until reconciled.
    Estimated,
    /// The upstream's bill, which can be explained by this call only.
    Derived,
}

impl Basis {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Final, Self::Estimated, Self::Derived];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Estimated => "estimated",
            Self::Derived => "derived",
        }
    }
}

/// How a call is booked, its corrections included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The call.
    pub call: CallId,
    /// The day it is booked on.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// The id that the caller saw.
    pub request_id: String,
    /// The upstream's id of the response; empty where none is known.
    pub response_id: String,
    /// How the call ended.
    pub outcome: String,
    /// What is booked.
    pub credits: Credits,
    /// By estimate, and not corrected since.
    pub in_doubt: bool,
    /// When the call was held.
    pub held: Timestamp,
}

/// A correction of what a call was booked at, by the upstream's own list.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// The call as it is booked.
    pub booked: Booked,
    /// What the upstream says it cost.
    pub figure: Credits,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Credits that were not spent, because a call's copies were given its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSaving {
    /// Whose copies.
    pub account: Account,
    /// The day of the copies.
    pub day: Date,
    /// How many there were.
    pub copies: u32,
    /// What they would have cost together.
    pub credits: Credits,
}

/// What is written beside the books: no credit depends on it, and it is lost where the ledger cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aside {
    /// Copies of a call were given its answer.
    Saved(NewSaving),
    /// A call has waited for its turn.
    Waited(NewWait),
    /// Calls have asked that no entry tells of.
    Asked(NewAsks),
}

/// How long a call has waited before it was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWait {
    /// The call.
    pub call: CallId,
    /// For its turn, or for what others held.
    pub queued: Duration,
}

/// Calls of one minute that have no entry of their own: those that were refused, and those that cost nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAsks {
    /// In minutes since the epoch.
    pub minute: i64,
    /// Whose.
    pub team: Arc<str>,
    /// On which route.
    pub route: Route,
    /// Why they were refused; nothing if they were served.
    pub code: Option<Code>,
    /// How many they were.
    pub count: u32,
    /// In which seconds of the minute they came, a bit each.
    pub seconds: u64,
}

/// What becomes of a job: of what a call has begun, and goes on behind its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The call that began it.
    pub call: CallId,
    /// Whom that is booked on.
    pub account: Account,
    /// When this came about.
    pub at: Timestamp,
    /// What.
    pub event: JobEvent,
}

/// What comes about of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// It has begun, or may have.
    Begun {
        /// As the upstream knows it; nothing where its answer was lost.
        upstream_id: Option<Box<str>>,
        /// The day that its call is booked on.
        day: Date,
        /// What is booked until its cost is known.
        reserve: Credits,
    },
    /// Nothing more becomes of it. What it cost is not known.
    Over,
    /// It has cost so much: the upstream said so, or it is derived.
    Settled {
        /// How much.
        credits: Credits,
        /// Final or derived.
        basis: Basis,
        /// It had been given up, and was counted at its reserve.
        after_all: bool,
    },
    /// Nobody has seen its end. It stays booked at its reserve.
    GivenUp {
        /// That reserve.
        reserve: Credits,
    },
}

/// A thing that was made through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThing {
    /// What.
    pub thing: Thing,
    /// As the upstream knows it.
    pub id: Box<str>,
    /// The team that made it.
    pub team: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// One thing to write.
#[derive(Clone, Debug)]
pub enum Command {
    /// Before sending.
    Hold(NewHold),
    /// At the end.
    End(NewEnding),
    /// When it comes about.
    Aside(Aside),
    /// As a job goes on.
    Job(NewJob),
    /// When something was made.
    Made(NewThing),
}

/// A hold that a crash left without an ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// The call.
    pub call: CallId,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// As the caller saw it.
    pub request_id: String,
    /// What is held.
    pub reserve: Credits,
    /// When it was held.
    pub at: Timestamp,
    /// The day it is booked on.
    pub day: Date,
}

impl OpenHold {
    /// Of a call that begins a job: that one may have begun.
    #[must_use]
    pub fn job(&self) -> Option<NewJob> {
        let account = self.account();
        account.route?.row().job()?;
        let event = JobEvent::Begun { upstream_id: None, day: self.day, reserve: self.reserve };
        Some(NewJob { call: self.call, account, at: self.at, event })
    }

    /// Its ending where another gateway has given its own up as lost.
    #[must_use]
    pub fn lost(&self, at: Timestamp) -> NewEnding {
        let ending =
            Ending::Settled { credits: self.reserve, basis: Basis::Estimated, reason: "replica_lost" };
        NewEnding { ending, ..self.ending(at) }
    }

    fn account(&self) -> Account {
        Account {
            team: self.team.as_str().into(),
            key_id: self.key_id.as_str().into(),
            route: Route::named(&self.route),
        }
    }

    /// Its ending: booked at its reserve, in doubt.
    #[must_use]
    pub fn ending(&self, at: Timestamp) -> NewEnding {
        NewEnding {
            call: self.call,
            account: self.account(),
            reserve: self.reserve,
            at,
            sent_at: None,
            outcome: "crashed",
            response_id: None,
            usage: Usage::default(),
            ending: Ending::Settled { credits: self.reserve, basis: Basis::Estimated, reason: "crash" },
        }
    }
}
