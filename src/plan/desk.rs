//! The desk of a replay: as it stands when the traffic begins, what follows from what it lets through, and what it says in the
//! words of a gateway.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use super::arrivals::Known;
use super::traffic::Traffic;
use crate::books::keeper::desk_with;
use crate::config::Config;
use crate::desk::{Ask, Desk, Granted, Moment, No, Tick};
use crate::refuse::Code;
use crate::route::Route;

/// A desk that knows what was spent and granted before.
pub(super) fn opened(config: &Config, traffic: &Traffic, today: Date, day_ends: Moment) -> Desk {
    let mut desk = desk_with(config, Duration::ZERO, &traffic.spent, (Moment::ZERO, today, day_ends));
    desk.set_grants(traffic.grants.clone());
    desk
}

/// Something that follows from what was let through, or from a second that is over.
pub(super) struct Later {
    pub(super) at: Moment,
    /// Of the same moment, what came in first is first.
    pub(super) number: u64,
    pub(super) event: Event,
}

pub(super) enum Event {
    /// The upstream has counted a request.
    Answered { team: Arc<str>, tick: Tick },
    /// A call is over.
    Ends(Box<Running>),
    /// A job is over.
    JobEnds { team: Arc<str>, route: Route },
    /// A call that no limit was in the way of asks in earnest.
    Asks(usize, Route),
}

/// A call that was let through.
pub(super) struct Running {
    pub(super) known: Known,
    pub(super) granted: Box<Granted>,
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Later {}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// As a caller would be told.
pub(super) fn code_of(no: &No, ask: &Ask) -> Code {
    match no {
        No::Place(_) | No::Upstream { .. } => Code::UpstreamWindowFull,
        No::QueueFull { .. } => Code::QueueFull,
        No::RouteFull { .. } => {
            let is_job = Route::all().nth(ask.route).is_some_and(|route| route.row().job().is_some());
            if is_job { Code::JobLimitReached } else { Code::ConcurrencyLimitExceeded }
        }
        No::Short { tally, .. } if tally.would_fit_without_holds(ask.reserve) => Code::CreditsHeld,
        No::Short { .. } => Code::BudgetExceeded,
    }
}
