//! What the ledger counts: credits as they are booked, and how writing them goes.
//!
//! Credits are counted when their ending is written, not before: a counter never shows what a crash could take back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use foldhash::HashMap;
use prometheus::{Counter, CounterVec, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::disk::Disk;
use super::facts::{Aside, Basis, Command, Ending, JobEvent, NewJob};
use super::opening::Total;
use crate::credits::Credits;
use crate::metrics::{Metrics, OTHER};
use crate::route::{Route, Routes};

/// Of tokens.
const DIRECTIONS: [&str; 2] = ["input", "output"];
/// Seconds, for a commit of the ledger.
const COMMIT_BUCKETS: [f64; 10] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1.0];
/// Reserved as a multiple of actual.
const RATIO_BUCKETS: [f64; 9] = [0.5, 0.75, 0.999, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0];

/// The ledger's series.
#[derive(Debug)]
pub struct Counts {
    credits: CounterVec,
    tokens: IntCounterVec,
    overruns: CounterVec,
    saved: CounterVec,
    /// The four above of each team that is configured, resolved once; and of all others together.
    teams: RwLock<HashMap<Box<str>, Arc<OfTeam>>>,
    others: OnceLock<Arc<OfTeam>>,
    reserve_ratio: Histogram,
    /// How long the ledger's transactions take.
    pub(super) commit: Histogram,
    closed: IntGauge,
    /// It was tried and failed.
    fails: AtomicBool,
    /// It is not the one that was opened.
    lost: AtomicBool,
    /// Its database does not take an entry, though it can be written.
    foreign: AtomicBool,
    /// Whether what is tried comes back.
    pub(super) disk: Disk,
    /// What only the journal has.
    pub(super) unmerged: IntGauge,
    /// Holds without an ending.
    pub(super) open_holds: IntGauge,
    /// Files of the journal that were damaged.
    set_aside: IntGauge,
}

/// The series of a team.
#[derive(Debug)]
struct OfTeam {
    overruns: Counter,
    saved: Counter,
    /// By number of the route, where it costs; behind them whatever is no route any more, once there is some of it.
    routes: [OnceLock<OfRoute>; Route::COUNT + 1],
}

/// The series of a team's calls of a route.
#[derive(Debug)]
struct OfRoute {
    /// By what they rest on.
    credits: [Option<Counter>; Basis::ALL.len()],
    tokens: [IntCounter; DIRECTIONS.len()],
}

impl OfRoute {
    fn count(&self, basis: Basis, credits: Credits) {
        if let Some(counter) = &self.credits[basis as usize] {
            counter.inc_by(credits.as_f64());
        }
    }

    fn count_tokens(&self, counts: [u64; 2]) {
        for (tokens, count) in self.tokens.iter().zip(counts) {
            tokens.inc_by(count);
        }
    }
}

impl Counts {
    /// Declares them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            credits: metrics.amounts(
                "credits_used_total",
                "Credits booked, by team and route; basis is final for the upstream's own figure, derived for what follows from its bill, estimated for a reserve that stays booked in doubt. Jobs are counted when their cost is known, or nobody has seen their end. Continues from the ledger over a restart.",
                &["team", "route", "basis"],
            ),
            tokens: metrics.counters(
                "tokens_total",
                "Tokens the upstream reported, by team, route and direction.",
                &["team", "route", "direction"],
            ),
            overruns: metrics.amounts(
                "credits_overrun_total",
                "Credits that answers cost beyond what was held for them, by team.",
                &["team"],
            ),
            saved: metrics.amounts(
                "credits_saved_total",
                "Credits that retries would have cost again and did not, by team. Continues from the ledger over a restart.",
                &["team"],
            ),
            teams: RwLock::default(),
            others: OnceLock::new(),
            reserve_ratio: metrics.histogram(
                "reserve_to_actual_ratio",
                "What was held for a call as a multiple of what it cost: 1 is exact, less is an overrun.",
                &RATIO_BUCKETS,
            ),
            commit: metrics.histogram(
                "ledger_commit_seconds",
                "How long the ledger took to write one group of entries at its durability.",
                &COMMIT_BUCKETS,
            ),
            disk: Disk::default(),
            fails: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
            closed: metrics.level(
                "ledger_closed",
                "1 while the ledger cannot be written and nothing that costs is forwarded.",
            ),
            unmerged: metrics.level(
                "ledger_unmerged_bytes",
                "Entries in the ledger's journal that the database does not have yet.",
            ),
            open_holds: metrics.level("ledger_open_holds", "Holds that have no ending yet."),
            set_aside: metrics.level(
                "ledger_journal_set_aside",
                "Damaged files of the journal that were set aside beside the ledger: what they held may be missing from the books.",
            ),
        }
    }

    /// Makes the series of a team exist that would mislead by not being there.
    pub(crate) fn team(&self, team: &str) {
        let series = self.made(team);
        self.teams.write().unwrap_or_else(PoisonError::into_inner).entry(team.into()).or_insert(series);
    }

    /// A team is gone, and takes its series along. What its last calls cost is counted for nobody by name.
    pub(crate) fn forget(&self, team: &str) {
        self.teams.write().unwrap_or_else(PoisonError::into_inner).remove(team);
        // One that is not there needs no taking away.
        let _ = self.overruns.remove_label_values(&[team]);
        let _ = self.saved.remove_label_values(&[team]);
        for at in 0..=Route::COUNT {
            for basis in Basis::ALL {
                let _ = self.credits.remove_label_values(&[team, label(at), basis.as_str()]);
            }
            for direction in DIRECTIONS {
                let _ = self.tokens.remove_label_values(&[team, label(at), direction]);
            }
        }
    }

    fn made(&self, team: &str) -> Arc<OfTeam> {
        let series = OfTeam {
            overruns: self.overruns.with_label_values(&[team]),
            saved: self.saved.with_label_values(&[team]),
            routes: std::array::from_fn(|_| OnceLock::new()),
        };
        // The others from their first use: most teams use few.
        let usual = Routes::usual();
        for route in Route::all().filter(|route| route.row().costs() && usual.allow(*route)) {
            self.of_route(team, &series, Some(route));
        }
        Arc::new(series)
    }

    /// The series of a route of a team's.
    fn of_route<'s>(&self, team: &str, series: &'s OfTeam, route: Option<Route>) -> &'s OfRoute {
        let at = route.map_or(Route::COUNT, Route::index);
        series.routes[at].get_or_init(|| OfRoute {
            credits: Basis::ALL.map(|basis| {
                // Nothing else is ever derived.
                let can_be =
                    basis != Basis::Derived || route.is_some_and(|route| route.row().job().is_some());
                can_be.then(|| self.credits.with_label_values(&[team, label(at), basis.as_str()]))
            }),
            tokens: DIRECTIONS.map(|direction| self.tokens.with_label_values(&[team, label(at), direction])),
        })
    }

    /// Counts for a team, or for all others together, under its lock: what is taken away meanwhile does not come back.
    fn of_team(&self, team: &str, count: impl FnOnce(&str, &OfTeam)) {
        let teams = self.teams.read().unwrap_or_else(PoisonError::into_inner);
        match teams.get(team) {
            Some(series) => count(team, series),
            None => count(OTHER, self.others.get_or_init(|| self.made(OTHER))),
        }
    }

    fn count(&self, team: &str, route: Option<Route>, count: impl FnOnce(&OfTeam, &OfRoute)) {
        self.of_team(team, |team, series| count(series, self.of_route(team, series, route)));
    }

    /// Whether the ledger cannot be written: it was tried and failed, it is being tried and does not come back, or it is not
    /// the one that was opened.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let closed = self.trouble().is_some();
        self.closed.set(i64::from(closed));
        closed
    }

    /// Why the ledger cannot be written, if it cannot.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        let fails = self.fails.load(Ordering::Relaxed).then_some("the last write to it failed");
        self.why_nothing_is_tried().or(fails)
    }

    /// So many holds are open, of all gateways that write the ledger.
    pub(crate) fn set_open(&self, holds: usize) {
        self.open_holds.set(i64::try_from(holds).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        self.fails.store(closed, Ordering::Relaxed);
        self.closed.set(i64::from(closed));
    }

    /// A file of the ledger is another by now, or is gone; or none is.
    pub(super) fn set_lost(&self, changed: Option<&Path>) {
        if self.lost.swap(changed.is_some(), Ordering::Relaxed) == changed.is_some() {
            return;
        }
        if let Some(path) = changed {
            let path = path.display();
            tracing::error!(%path, "a file of the ledger was moved, replaced or removed: nothing that costs is forwarded until it is back");
        } else {
            tracing::info!("the ledger is the one it was again");
        }
    }

    /// Somebody else has written to the ledger, as far as its entries show; or nobody has.
    pub(super) fn set_foreign(&self, foreign: bool) {
        if self.foreign.swap(foreign, Ordering::Relaxed) != foreign && foreign {
            tracing::error!(
                "the ledger does not take an entry, though it can be written: nothing that costs is forwarded until it does"
            );
        }
    }

    /// Why nothing is written at present, whether or not it could be.
    pub(super) fn why_nothing_is_tried(&self) -> Option<&'static str> {
        if self.lost.load(Ordering::Relaxed) {
            return Some("it is not the file that it was");
        }
        if self.foreign.load(Ordering::Relaxed) {
            return Some("it does not take an entry, though it can be written");
        }
        self.hangs().then_some("the disk does not take what is written to it")
    }

    /// Whether a write is stuck, told when that begins and when it is over.
    pub fn hangs(&self) -> bool {
        self.disk.look()
    }

    /// So many damaged files of the journal lie beside the ledger.
    pub(super) fn set_aside(&self, files: usize) {
        self.set_aside.set(i64::try_from(files).unwrap_or(i64::MAX));
    }

    /// Takes up the counts of earlier runs, as the ledger has them.
    pub(crate) fn continue_from(&self, total: &Total) {
        self.count(&total.team, Route::named(&total.route), |_, route| {
            for (basis, credits) in Basis::ALL.into_iter().zip(total.counted) {
                route.count(basis, credits);
            }
            route.count_tokens([total.input_tokens, total.output_tokens]);
        });
    }

    /// Takes up what earlier runs have saved a team.
    pub(crate) fn continue_saved(&self, team: &str, credits: Credits) {
        self.of_team(team, |_, series| series.saved.inc_by(credits.as_f64()));
    }

    /// What retries have saved a team since ever.
    #[must_use]
    pub fn saved(&self, team: &str) -> Credits {
        let mut saved = 0.0;
        self.of_team(team, |_, series| saved = series.saved.get());
        Credits::from_f64(saved)
    }

    /// The ledger has written this: what it books is counted now.
    pub fn wrote(&self, command: &Command) {
        let ending = match command {
            Command::Hold(_) => return self.open_holds.inc(),
            Command::Aside(Aside::Saved(saving)) => {
                return self.continue_saved(&saving.account.team, saving.credits);
            }
            Command::Job(job) => return self.wrote_job(job),
            Command::Aside(_) | Command::Made(_) => return,
            Command::End(ending) => ending,
        };
        let is_job = ending.account.route.is_some_and(|route| route.row().job().is_some());
        self.open_holds.dec();
        self.count(&ending.account.team, ending.account.route, |team, route| {
            route.count_tokens(
                [ending.usage.input_tokens, ending.usage.output_tokens].map(Option::unwrap_or_default),
            );
            if let Ending::Settled { credits, basis, .. } = ending.ending
                // What a job may cost is counted when it is known, or given up: a counter takes nothing back.
                && !is_job
            {
                route.count(basis, credits);
                team.overruns.inc_by(credits.saturating_sub(ending.reserve).as_f64());
                if basis == Basis::Final && credits > Credits::ZERO {
                    self.reserve_ratio.observe(ending.reserve.as_f64() / credits.as_f64());
                }
            }
        });
    }
}

impl Counts {
    fn wrote_job(&self, job: &NewJob) {
        let (credits, basis) = match job.event {
            JobEvent::Begun { .. } | JobEvent::Over | JobEvent::Settled { after_all: true, .. } => return,
            JobEvent::Settled { credits, basis, .. } => (credits, basis),
            JobEvent::GivenUp { reserve } => (reserve, Basis::Estimated),
        };
        self.count(&job.account.team, job.account.route, |_, route| route.count(basis, credits));
    }
}

/// The label of a route by its number; of what is none.
fn label(at: usize) -> &'static str {
    Route::all().nth(at).map_or(OTHER, Route::label)
}
