//! Calls that no entry of the ledger tells of, counted by the minute: those that were refused, and those that cost nothing. They
//! are written down once a minute, so that another configuration can be tried on what was asked, and not on what was served alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ended::Ended;
use crate::ledger::{NewAsks, minute};
use crate::refuse::Code;
use crate::route::Route;

/// Calls by minute, team, route and why they were refused.
#[derive(Debug, Default)]
pub struct Asks(Mutex<HashMap<Ask, (u32, u64)>>);

type Ask = (i64, Arc<str>, Route, Option<Code>);

impl Asks {
    /// Counts a call that has ended, if nothing else tells of it.
    pub(super) fn count(&self, ended: &Ended<'_>) {
        let (Some(who), Some(route)) = (ended.who, ended.route()) else { return };
        let is_copy = ended.repeats.is_some_and(|repeat| repeat.original().is_some());
        // What was held has its booking, whatever became of it.
        let is_told = if route.row().costs() {
            ended.reserved.is_some() || ended.code.is_none()
        } else {
            !route.row().is_upstream()
        };
        if is_copy || is_told {
            return;
        }
        let came = ended.at.saturating_sub(ended.times.total()).unwrap_or(ended.at);
        let ask = (minute(came), Arc::clone(&who.team), route, ended.code);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, seconds) = counts.entry(ask).or_default();
        *count += 1;
        *seconds |= 1 << came.as_second().rem_euclid(60);
    }

    /// Those of minutes before this one, in order. They are counted here no more.
    pub(super) fn take_before(&self, end: i64) -> Vec<NewAsks> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = counts.extract_if(|(minute, ..), _| *minute < end);
        let asks = taken.map(|((minute, team, route, code), (count, seconds))| NewAsks {
            minute,
            team,
            route,
            code,
            count,
            seconds,
        });
        let mut asks: Vec<_> = asks.collect();
        asks.sort_by(|one, other| {
            let key = |asks: &NewAsks| (asks.minute, asks.route.index(), asks.code.map(Code::as_str));
            key(one).cmp(&key(other)).then_with(|| one.team.cmp(&other.team))
        });
        asks
    }
}
