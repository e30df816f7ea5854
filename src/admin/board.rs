//! What operators are told from, and the gauges that are looked up when somebody scrapes.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use prometheus::{Gauge, GaugeVec, IntGauge};

use crate::books::jobs::OfRoute;
use crate::books::open::Books;
use crate::config::Config;
use crate::credits::budget::{Budgets, Standing, Whose};
use crate::credits::period::day_of;
use crate::desk::State;
use crate::forward::drain::Drain;
use crate::gateway::Gateway;
use crate::keyring::{self, State as KeyState};
use crate::ledger::RegisteredKey;
use crate::live::Live;
use crate::metrics::{Metrics, seconds};
use crate::record::Recorder;
use crate::route::Route;
use crate::shutdown::Shutdown;
use crate::usage::Bill;

/// The parts of a gateway that operators look at.
#[derive(Clone, Debug)]
pub struct Board {
    pub(super) metrics: Arc<Metrics>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) live: Arc<Live>,
    pub(super) books: Books,
    pub(super) bill: Arc<Bill>,
    pub(super) drain: Drain,
    pub(super) shutdown: Shutdown,
    pub(super) started: Timestamp,
    gauges: Gauges,
}

/// What is set at a scrape.
#[derive(Clone, Debug)]
struct Gauges {
    held: GaugeVec,
    budget: GaugeVec,
    threshold: GaugeVec,
    used: GaugeVec,
    resets: GaugeVec,
    upstream_state: GaugeVec,
    queue_waiting: GaugeVec,
    queue_lag: GaugeVec,
    caller_keys: GaugeVec,
    managed_keys: GaugeVec,
    jobs: GaugeVec,
    job_cap_waiting: GaugeVec,
    /// What a call holds at present.
    reserve: Gauge,
    window_used: IntGauge,
    window_limit: IntGauge,
}

impl Board {
    /// Over the parts of a gateway. Once for each, because it declares metrics.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Self {
        let Gateway { metrics, recorder, live, books, bill, drain, shutdown, started, .. } = gateway;
        Self {
            gauges: Gauges::new(metrics),
            metrics: Arc::clone(metrics),
            recorder: Arc::clone(recorder),
            live: Arc::clone(live),
            books: books.clone(),
            bill: Arc::clone(bill),
            drain: drain.clone(),
            shutdown: shutdown.clone(),
            started: *started,
        }
    }

    /// The time on the wall.
    pub(super) fn now(&self) -> Timestamp {
        self.recorder.clock().wall()
    }

    /// The day on the calendar that budgets go by.
    pub(super) fn today(&self) -> Date {
        day_of(self.now(), &self.live.current().config.credits.zone)
    }

    /// Everything that is exported, as it is now: its media type, and the text.
    #[must_use]
    pub fn scrape(&self) -> (String, Vec<u8>) {
        let (snapshot, gauges) = (self.live.current(), &self.gauges);
        let limit = snapshot.config.upstream.requests_per_minute.get();
        let desk = &self.books.desk;
        gauges.window_used.set(i64::from(desk.window_used()));
        gauges.window_limit.set(i64::from(limit));
        let credits = &snapshot.config.credits;
        // What nobody has come to find out is told too.
        let _ = self.books.counts.is_closed();
        // Teams and budgets that a reload took away have no standing any more.
        gauges.forget();
        gauges.reserve.set(desk.reserve(credits, Route::explained()).as_f64());
        let teams = snapshot
            .directory
            .teams()
            .iter()
            .map(|team| (&*team.name, Whose::Team(Arc::clone(&team.name)), team.budget));
        gauges.keys(&snapshot.config, &self.live.keys().1, self.now());
        let now = self.now();
        let ages = snapshot.identities.issuers();
        let ages = ages.filter_map(|issuer| Some((issuer.name(), issuer.age(now)?.as_secs_f64())));
        snapshot.identities.counts.ages(ages);
        let upstream = desk.upstream();
        for state in State::ALL {
            let is = if state == upstream { 1.0 } else { 0.0 };
            gauges.upstream_state.with_label_values(&[state.as_str()]).set(is);
        }
        for route in Route::all().filter(|route| route.row().cap.is_some()) {
            gauges.jobs(route, desk.jobs(route));
        }
        for team in snapshot.directory.teams() {
            let (waiting, lag) = desk.waiting(&team.name);
            gauges.queue_waiting.with_label_values(&[&team.name]).set(f64::from(waiting));
            gauges.queue_lag.with_label_values(&[&team.name]).set(lag);
        }
        for (name, whose, budget) in teams.chain([("organisation", Whose::Organisation, credits.budget)]) {
            gauges.held.with_label_values(&[name]).set(desk.held(&whose).as_f64());
            let budgets = Budgets(budget.map(|budget| (whose, budget)).into_iter().collect());
            for standing in desk.standings(&budgets) {
                gauges.stands(name, &standing);
            }
        }
        self.metrics.render()
    }
}

fn counted(number: usize) -> f64 {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}

impl Gauges {
    /// How the keys stand that open the gateway, or did, and how many of each team the ledger keeps.
    fn keys(&self, config: &Config, registered: &[RegisteredKey], now: Timestamp) {
        let all = keyring::all(config, registered, now);
        for (state, of) in [
            ("expired", &[KeyState::Expired] as &[_]),
            ("expiring", &[KeyState::Expiring]),
            ("valid", &[KeyState::Valid, KeyState::Replaced]),
        ] {
            let count = all.iter().filter(|key| of.contains(&key.state)).count();
            self.caller_keys.with_label_values(&[state]).set(counted(count));
        }
        for team in &config.teams {
            let ours = registered.iter().filter(|key| key.team == team.name && key.is_alive(now));
            self.managed_keys.with_label_values(&[&team.name]).set(counted(ours.count()));
        }
    }

    fn new(metrics: &Metrics) -> Self {
        let by_team = |name, help| metrics.gauges(name, help, &["team"]);
        Self {
            held: by_team("credits_held", "Credits held for calls in flight, by team; organisation for all."),
            budget: by_team(
                "budget_credits",
                "Budget of the running period with its grants, by team; organisation for the whole.",
            ),
            threshold: by_team(
                "budget_threshold_percent",
                "The highest of 50, 75, 90 and 100 percent that is spent of the running period's budget, by team; 0 below all.",
            ),
            used: by_team(
                "budget_used_credits",
                "Credits booked against the budget in the running period.",
            ),
            resets: by_team(
                "budget_reset_timestamp_seconds",
                "When the running period of the budget ends, in seconds since the epoch.",
            ),
            upstream_state: metrics.gauges(
                "upstream_state",
                "How the upstream is, as far as it has told by its answers and its usage: 1 for the one state it is in.",
                &["state"],
            ),
            queue_waiting: by_team("queue_waiting", "Calls that wait for their turn or for credits, by team."),
            queue_lag: by_team(
                "queue_service_lag_places",
                "Places that a team whose calls wait is behind its fair share since they do.",
            ),
            caller_keys: metrics.gauges(
                "caller_keys",
                "Caller keys: valid, expiring within two weeks, or expired and refused. `check` and `key list` name them.",
                &["state"],
            ),
            managed_keys: by_team(
                "managed_keys",
                "Caller keys that work and that the ledger has a say on: made at run time, or replaced then, by team.",
            ),
            jobs: metrics.gauges(
                "jobs",
                "Jobs that calls have begun upstream, by route: running, unknown where the answer that had its id was lost, in_doubt where it is over and its cost is not known.",
                &["route", "state"],
            ),
            job_cap_waiting: metrics.gauges(
                "job_cap_waiting",
                "Calls that wait because as many of their route are under way as Mavera takes at once, or as their team may have.",
                &["route"],
            ),
            reserve: metrics.gauge(
                "credits_reserve",
                "Credits that a chat holds until its cost is known; with less left in a budget it is refused. What other routes hold is in the table of routes.",
            ),
            window_used: metrics.level(
                "upstream_window_used",
                "Requests that count against the upstream's sliding 60 seconds now.",
            ),
            window_limit: metrics.level(
                "upstream_window_limit",
                "Requests the upstream's sliding 60 seconds allow.",
            ),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "as many as the upstream takes, and some thousands in doubt"
    )]
    fn jobs(&self, route: Route, jobs: OfRoute) {
        let OfRoute { running, unknown, in_doubt, waiting, .. } = jobs;
        if route.row().job().is_some() {
            for (state, count) in [("running", running), ("unknown", unknown), ("in_doubt", in_doubt)] {
                self.jobs.with_label_values(&[route.label(), state]).set(count as f64);
            }
        }
        self.job_cap_waiting.with_label_values(&[route.label()]).set(waiting as f64);
    }

    /// Before all that stand now are told: what is not among them is gone.
    fn forget(&self) {
        for gauges in [
            &self.held,
            &self.budget,
            &self.threshold,
            &self.used,
            &self.resets,
            &self.queue_waiting,
            &self.queue_lag,
            &self.managed_keys,
        ] {
            gauges.reset();
        }
    }

    /// How a team's budget, or the organisation's, stands now.
    fn stands(&self, name: &str, standing: &Standing) {
        self.budget.with_label_values(&[name]).set(standing.tally.whole.as_f64());
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        self.threshold.with_label_values(&[name]).set(standing.tally.threshold() as f64);
        self.used.with_label_values(&[name]).set(standing.tally.used.as_f64());
        self.resets.with_label_values(&[name]).set(seconds(standing.resets));
    }
}
