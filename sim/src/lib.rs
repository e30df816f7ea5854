//! A faithful imitation of the Mavera API, for `demo` and for the tests: base path, keys, the model in
//! both generations, jobs that take their time, Mave and everything else that is served, the sliding
//! window, credits from one pool, errors, and every quirk of [`quirks`], with books that a test can
//! read.
//!
//! What is documented is imitated as documented; what is invented says so where it stands.

mod values;
pub mod quirks;
mod errors;
pub mod books;
mod price;
mod kinds;
mod jobs;
mod threads;
mod state;
mod call;
mod body;
mod sse;
mod reply;
mod stream;
mod api;
mod server;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use server::serve;

use self::books::{Books, SlidingWindow};
use self::quirks::Quirks;
use self::state::State;
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
    /// What the API's calls had spent of them before it began.
    pub spent: u64,
    /// A workspace cap on API spending, if any.
    pub workspace_budget: Option<u64>,
    /// Auto-recharge: threshold and amount.
    pub recharge: Option<(u64, u64)>,
    /// Credits that dashboard users spend per minute.
    pub dashboard_per_minute: u64,
    /// How long an analysis takes.
    pub analysis_time: Duration,
    /// How long a focus group takes.
    pub focus_group_time: Duration,
    /// Deviations, until told otherwise.
    pub quirks: Quirks,
    /// Remembered requests; 0 for a benchmark, where the books would only grow.
    pub remember: usize,
}

impl Settings {
    /// One live key, a Professional plan, an analysis that takes two minutes and a focus group that takes one.
    #[must_use]
    pub fn with_key(key: &str) -> Self {
        Self {
            keys: vec![SimKey { text: key.to_owned(), state: KeyState::Live }],
            requests_per_minute: 240,
            credits: 5000,
            spent: 0,
            workspace_budget: None,
            recharge: None,
            dashboard_per_minute: 0,
            analysis_time: Duration::from_mins(2),
            focus_group_time: Duration::from_mins(1),
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

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").finish_non_exhaustive()
    }
}

impl Simulator {
    /// A simulator that knows one completed analysis, [`DEMO_ANALYSIS`].
    #[must_use]
    pub fn new(settings: Settings, wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let state = State::new(settings, wall());
        Self { wall: Arc::new(wall), state: Arc::new(Mutex::new(state)) }
    }

    fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// Looks at the books. The jobs that have ended by now are charged in them.
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

    /// What is remembered. Whoever looks finds charged what has come due by now: the clock is asked, it
    /// does not strike.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.bills.is_empty() {
            state.charge_due(self.now());
        }
        state
    }
}
