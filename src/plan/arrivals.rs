//! Traffic as it comes: each call at its moment, and what is known by the second within that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::team::{Pooled, Team, is_limit};
use super::traffic::Traffic;
use crate::credits::Credits;
use crate::desk::Moment;
use crate::ledger::{PastAsks, PastCall};
use crate::refuse::Code;
use crate::route::Route;

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// The golden ratio: copies of calls are put apart by it, so that no two fall together.
const APART: f64 = 0.618_033_988_749_895;

/// Codes of what is refused before a team's rate is asked.
const BEFORE_RATE: [Code; 4] =
    [Code::AnalysisNotAllowed, Code::IdempotencyKeyRequired, Code::IdentityNotAllowed, Code::InvalidApiKey];

/// What is known of a call before it is let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Whose it is.
    pub(super) team: usize,
    /// How long it runs.
    pub(super) ran: Duration,
    /// What it costs.
    pub(super) spent: Credits,
    /// What goes on behind it.
    pub(super) job: Job,
    /// It was refused when it came.
    pub(super) was_refused: bool,
}

impl Known {
    pub(super) fn free(team: usize) -> Self {
        Self { team, ran: Duration::ZERO, spent: Credits::ZERO, job: Job::None, was_refused: false }
    }
}

/// What goes on behind a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// Nothing.
    None,
    /// A job, for so long.
    GoesOn(Duration),
    /// A job that nobody has seen the end of.
    NeverSeenToEnd,
}

/// What comes.
pub(super) enum Comes {
    /// A call of the past.
    Call(Known, Route, Arc<str>),
    /// One that costs nothing.
    Free(usize, Route),
    /// One that is refused for what it says.
    Malformed(usize, Route, Arc<str>),
    /// A second, with what was refused in it for a limit.
    SecondBegins(Vec<(usize, Pooled)>),
    /// Its end.
    SecondEnds,
}

/// All that comes, in order.
pub(super) struct Arrivals {
    coming: std::iter::Peekable<std::vec::IntoIter<(Moment, Comes)>>,
}

impl Arrivals {
    /// All traffic, and what became of it, which is added up for each team.
    pub(super) fn of(traffic: &Traffic, teams: &mut [Team], rate: f64) -> Self {
        let numbers: HashMap<_, _> =
            teams.iter().enumerate().map(|(index, team)| (Arc::clone(&team.name), index)).collect();
        let mut coming = Vec::with_capacity(traffic.past.calls.len());
        let mut copies = Copies { rate, so_far: 0.0 };
        for (index, call) in traffic.past.calls.iter().enumerate() {
            let team = numbers[&call.team];
            teams[team].was.served(call.queued, call.credits);
            let Some(route) = call.route else { continue };
            let at = traffic.moment(call.came());
            for copy in 0..copies.of(1) {
                let known = known(call, team);
                coming.push((at + apart(index, copy), Comes::Call(known, route, Arc::clone(&call.key_id))));
            }
        }
        let mut refused: BTreeMap<i64, Vec<(usize, Pooled)>> = BTreeMap::new();
        for asks in &traffic.past.asks {
            let team = numbers[&asks.team];
            let PastAsks { route, code, count, .. } = asks;
            match &**code {
                "" => teams[team].was.free((*count).into()),
                code => teams[team].was.refused_as(code, (*count).into()),
            }
            let Some(route) = *route else { continue };
            let count = copies.of(*count);
            if BEFORE_RATE.iter().any(|before| *before.as_str() == **code) {
                teams[team].would.refused_as(code, count.into());
                continue;
            }
            for (second, count) in by_second(asks, count) {
                if is_limit(code) {
                    let pooled = Pooled { route, code: Arc::clone(code), count };
                    refused.entry(second).or_default().push((team, pooled));
                    continue;
                }
                coming.extend(evenly(begins(second, traffic), count).map(|at| {
                    let comes = match &**code {
                        "" => Comes::Free(team, route),
                        _ => Comes::Malformed(team, route, Arc::clone(code)),
                    };
                    (at, comes)
                }));
            }
        }
        for (second, refused) in refused {
            let at = begins(second, traffic);
            coming.push((at, Comes::SecondBegins(refused)));
            coming.push((at + SECOND, Comes::SecondEnds));
        }
        // A stable order: of one moment, what stands first here. A second ends before the next begins.
        coming.sort_by_key(|(at, comes)| (*at, !matches!(comes, Comes::SecondEnds)));
        Self { coming: coming.into_iter().peekable() }
    }

    /// When the next comes.
    pub(super) fn next_at(&mut self) -> Option<Moment> {
        self.coming.peek().map(|(at, _)| *at)
    }

    /// The next.
    pub(super) fn next(&mut self) -> Option<Comes> {
        self.coming.next().map(|(_, comes)| comes)
    }
}

/// How often each comes, where that is not once: what is left of one goes over to the next.
struct Copies {
    rate: f64,
    so_far: f64,
}

impl Copies {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and not negative")]
    fn of(&mut self, count: u32) -> u32 {
        self.so_far += f64::from(count) * self.rate;
        let whole = self.so_far.floor();
        self.so_far -= whole;
        whole as u32
    }
}

fn known(call: &PastCall, team: usize) -> Known {
    let since = |at: jiff::Timestamp, before: jiff::Timestamp| {
        Duration::try_from(at.duration_since(before)).unwrap_or_default()
    };
    let ended = call.ended.unwrap_or(call.held);
    let job = match call.job {
        None => Job::None,
        Some(job) if job.is_over => Job::GoesOn(since(job.seen, ended)),
        Some(_) => Job::NeverSeenToEnd,
    };
    Known { team, ran: since(ended, call.held), spent: call.credits, job, was_refused: false }
}

/// Where a copy of a call is put, from where that was: within a minute, and nowhere near the other copies.
#[expect(clippy::cast_precision_loss, reason = "the fraction is all that counts")]
fn apart(index: usize, copy: u32) -> Duration {
    if copy == 0 {
        return Duration::ZERO;
    }
    MINUTE.mul_f64(((index as f64) * APART + f64::from(copy) * APART).fract())
}

/// Asks of a minute by the second of the epoch: evenly over the seconds in which some came.
fn by_second(asks: &PastAsks, count: u32) -> impl Iterator<Item = (i64, u32)> {
    // One that says nothing may be any.
    let mask = if asks.seconds == 0 { u64::MAX } else { asks.seconds };
    let seconds: Vec<i64> = (0..60).filter(|second| mask & 1 << second != 0).collect();
    let (minute, parts) = (asks.minute, u32::try_from(seconds.len()).unwrap_or(1).max(1));
    seconds.into_iter().zip(0..).filter_map(move |(second, at)| {
        let share = count * (at + 1) / parts - count * at / parts;
        (share > 0).then_some((minute * 60 + second, share))
    })
}

/// So many moments, evenly over a second.
pub(super) fn evenly(begins: Moment, count: u32) -> impl Iterator<Item = Moment> {
    (0..count).map(move |at| begins + SECOND * (2 * at + 1) / (2 * count))
}

/// When a second of the epoch begins.
fn begins(second: i64, traffic: &Traffic) -> Moment {
    traffic.moment(jiff::Timestamp::from_second(second).unwrap_or(traffic.since))
}
