//! A faithful imitation of the Mavera API, for `demo` and for the tests: base path, keys, analyses,
//! chat in both generations, the sliding window, credits from one pool, errors, and every quirk of
//! [`quirks`], with books that a test can read.
//!
//! What is documented is imitated as documented; what is invented says so where it stands.

mod analyses;
mod api;
mod body;
pub mod books;
mod chat;
mod errors;
pub mod quirks;
mod server;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use server::serve;

use self::analyses::Analysis;
use self::books::{Books, Pool, Recharge, SlidingWindow};
use self::quirks::{Charging, Quirks, Refund};
use jiff::Timestamp;

/// The analysis that is there from the start, completed.
pub const DEMO_ANALYSIS: &str = "clx1demo0000000000000000a";

/// A key of the simulated organisation, and what is the matter with it.
#[derive(Clone, Debug)]
pub struct SimKey {
    /// The whole key.
    pub text: String,
    /// Whether it works.
    pub state: KeyState,
}

/// State of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It works.
    Live,
    /// 401 `revoked_api_key`.
    Revoked,
    /// 401 `expired_api_key`.
    Expired,
    /// The subscription behind it has lapsed: 402 on everything.
    Lapsed,
}

/// How a simulator starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keys it knows.
    pub keys: Vec<SimKey>,
    /// Requests per sliding minute and key.
    pub requests_per_minute: usize,
    /// Credits of the month.
    pub credits: u64,
    /// A workspace cap on API spending, if any.
    pub workspace_budget: Option<u64>,
    /// Auto-recharge: threshold and amount.
    pub recharge: Option<(u64, u64)>,
    /// Credits that dashboard users spend per minute.
    pub dashboard_per_minute: u64,
    /// How long an analysis takes.
    pub analysis_time: Duration,
    /// Deviations, until told otherwise.
    pub quirks: Quirks,
    /// Remembered requests; 0 for a benchmark, where the books would only grow.
    pub remember: usize,
}

impl Settings {
    /// One live key, a Professional plan, and an analysis that takes two minutes.
    #[must_use]
    pub fn with_key(key: &str) -> Self {
        Self {
            keys: vec![SimKey { text: key.to_owned(), state: KeyState::Live }],
            requests_per_minute: 240,
            credits: 5000,
            workspace_budget: None,
            recharge: None,
            dashboard_per_minute: 0,
            analysis_time: Duration::from_mins(2),
            quirks: Quirks::default(),
            remember: usize::MAX,
        }
    }
}

/// A simulated Mavera. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Simulator {
    /// The time on the wall, which tests may own.
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    pool: Pool,
    windows: Vec<SlidingWindow>,
    analyses: Vec<Analysis>,
    books: Books,
    responses: usize,
    started: Timestamp,
    /// When the billing period began, where that is not the first of the month, and what had been charged before.
    billed_since: Option<(Timestamp, u64)>,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").finish_non_exhaustive()
    }
}

impl Simulator {
    /// A simulator that knows one completed analysis, [`DEMO_ANALYSIS`].
    #[must_use]
    pub fn new(settings: Settings, wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let pool = Pool {
            included: settings.credits,
            used: 0,
            dashboard: 0,
            recharge: settings.recharge.map(|(threshold, amount)| Recharge { threshold, amount }),
        };
        let state = State {
            pool,
            windows: settings.keys.iter().map(|_| SlidingWindow::default()).collect(),
            analyses: vec![Analysis::completed(DEMO_ANALYSIS, "Launch film")],
            books: Books::default(),
            responses: 0,
            started: wall(),
            billed_since: None,
            settings,
        };
        Self { wall: Arc::new(wall), state: Arc::new(Mutex::new(state)) }
    }

    fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// Looks at the books.
    pub fn books<R>(&self, look: impl FnOnce(&Books) -> R) -> R {
        look(&self.state().books)
    }

    /// Changes how it behaves from now on.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.state().settings.quirks = quirks;
    }

    /// Buys credits for the month, as somebody in the dashboard would.
    pub fn buy(&self, credits: u64) {
        self.state().pool.included += credits;
    }

    /// Sets a limit for the workspace, or lifts it, as somebody in the dashboard would.
    pub fn set_workspace_budget(&self, budget: Option<u64>) {
        self.state().settings.workspace_budget = budget;
    }

    /// The billing period began at that moment, before the calls that are made from now on.
    pub fn bill_from(&self, start: Timestamp) {
        let mut state = self.state();
        state.billed_since = Some((start, state.books.total_charged()));
    }

    /// Changes the state of its keys, as somebody in the dashboard would.
    pub fn set_keys(&self, keys: Vec<SimKey>) {
        let mut state = self.state();
        state.windows.resize_with(keys.len(), SlidingWindow::default);
        state.settings.keys = keys;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request in progress, from its head to its end: what it is charged, and the books about it.
struct Call {
    simulator: Simulator,
    /// Index in the books, if it is remembered.
    index: Option<usize>,
    route: String,
    key: usize,
    /// To be charged when it ends.
    owed: u64,
    charging: Charging,
    /// Given back at the end: it failed, and failures are refunded.
    refunded: bool,
    reset: Arc<AtomicBool>,
}

impl Call {
    fn charge(&mut self) {
        let credits = std::mem::take(&mut self.owed);
        if credits == 0 || self.refunded {
            return;
        }
        let mut state = self.simulator.state();
        let bought = state.pool.spend(credits);
        state.books.recharged += bought;
        *state.books.charged.entry(self.key).or_default() += credits;
        if let Some(received) = self.index.and_then(|index| state.books.received.get_mut(index)) {
            received.charged += credits;
        }
    }

    /// A chat owes this much, to be paid when the quirks say.
    fn owes(&mut self, credits: u64, quirks: &Quirks, fails: bool) {
        self.owed = credits;
        self.charging = quirks.charging;
        self.refunded = fails && quirks.refund == Refund::Yes;
        if self.charging == Charging::Before {
            self.charge();
        }
    }

    fn finished(mut self) {
        self.charge();
        self.end(false);
    }

    fn hung_up(mut self) {
        if self.charging == Charging::Always {
            self.charge();
        }
        self.end(true);
    }

    fn end(&mut self, hung_up: bool) {
        let now = self.simulator.now();
        let mut state = self.simulator.state();
        state.books.ended(&self.route);
        if let Some(received) = self.index.and_then(|index| state.books.received.get_mut(index)) {
            received.ended = Some(now);
            received.hung_up = hung_up;
        }
    }

    fn answered(&self, status: u16, response_id: Option<&str>) {
        let mut state = self.simulator.state();
        if let Some(received) = self.index.and_then(|index| state.books.received.get_mut(index)) {
            received.status = Some(status);
            received.response_id = response_id.map(str::to_owned).or(received.response_id.take());
        }
    }

    fn reset_connection(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }
}
