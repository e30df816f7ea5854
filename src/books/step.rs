//! Everything that changes what the gateways of a ledger have in common, each as a value: so that it can be written down in one
//! order, and be taken up by each of them.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::job::Told;
use crate::credits::budget::Grant;
use crate::credits::{Credits, millionths};
use crate::desk::{Moment, Said, Seen, Tick, Ticket};
use crate::ledger::{Account, Basis, CallId, Fate};
use crate::route::{Route, Thing};

/// One of them. Calls that ask are told something, and are no steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Step {
    /// Nothing has happened: it is looked whose turn it is.
    Look,
    /// Another day is booked on, and is over then.
    Day {
        /// The day.
        today: Date,
        /// When it is over.
        ends: Moment,
    },
    /// A call that waits has left.
    Left {
        /// Its team.
        team: Arc<str>,
        /// Which.
        ticket: Ticket,
    },
    /// A request was written at that moment.
    Sent {
        /// Whose.
        team: Arc<str>,
        /// Until when it had its place.
        tick: Tick,
        /// When.
        at: Moment,
    },
    /// The upstream had counted a request by that moment, and said this.
    Answered {
        /// Whose.
        team: Arc<str>,
        /// Until when it had its place.
        tick: Tick,
        /// When.
        at: Moment,
        /// What was said of the window.
        said: Said,
        /// What was seen of the upstream.
        seen: Option<Sight>,
    },
    /// A request was never written: its place is free.
    Unsent {
        /// Whose.
        team: Arc<str>,
        /// Until when it had its place.
        tick: Tick,
    },
    /// Something was seen of the upstream.
    Seen(Sight),
    /// When the upstream's pool is filled again.
    PoolResets(Timestamp),
    /// A call that costs has ended.
    Ended(Ended),
    /// It has given back its place of a route that is capped.
    Freed {
        /// Which call.
        call: CallId,
        /// Its route.
        route: Route,
        /// Its team.
        team: Arc<str>,
    },
    /// A call is over, its answer too: it counts among its team's no more.
    Over {
        /// Whose.
        team: Arc<str>,
        /// The gateway that it came to.
        owner: u32,
    },
    /// A call that begins a job has ended, and nothing proves that it has not begun one.
    JobBegun {
        /// The call.
        call: CallId,
        /// Whom it is booked on.
        account: Account,
        /// The job, as the upstream knows it.
        upstream_id: Option<Box<str>>,
        /// The day it is booked on.
        day: Date,
        /// What is booked until its cost is known.
        #[serde(with = "millionths")]
        reserve: Credits,
    },
    /// The answer that began a job, or the upstream's bill, said this of it.
    JobTold {
        /// The call that began it.
        call: CallId,
        /// What.
        told: Told,
        /// What a figure in it rests on.
        basis: Basis,
    },
    /// An answer that went by said this of a job.
    ThingTold {
        /// What it is.
        thing: Thing,
        /// As the upstream knows it.
        id: Box<str>,
        /// What.
        told: Told,
    },
    /// What a call cost was corrected by hand.
    Corrected(CallId),
    /// Jobs whose end nobody has seen in time are given up.
    JobsExpire,
    /// A gateway asks about a job.
    JobAsked(CallId),
    /// What was spent is another amount than was booked.
    Adjusted {
        /// The day.
        day: Date,
        /// Whose.
        account: Account,
        /// The difference.
        millionths: i64,
    },
    /// These grants are in force.
    Grants(Vec<Grant>),
    /// A thing was made, and belongs to a team.
    Made {
        /// What.
        thing: Thing,
        /// As the upstream knows it.
        id: Box<str>,
        /// Whose.
        team: Arc<str>,
    },
    /// A gateway has not been heard of for as long as its lease: what it had open is booked in doubt, and who waited there is gone.
    Lost(u32),
    /// So far operators' entries have been taken up.
    ChangesUpTo(i64),
}

/// What was seen of the upstream, of a call that was sent at a moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) seen: Seen,
    pub(super) sent: Moment,
}

/// How a call that costs has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) call: CallId,
    pub(super) account: Account,
    pub(super) day: Date,
    #[serde(with = "millionths")]
    pub(super) reserve: Credits,
    /// What is booked.
    #[serde(with = "millionths")]
    pub(super) spent: Credits,
    /// Whether that is the upstream's own figure.
    pub(super) is_final: bool,
    /// What becomes of its retries.
    pub(super) fate: Fate,
}
