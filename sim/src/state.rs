//! Everything that a simulator remembers, and how it charges.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Settings;
use super::books::{Books, Pool, Recharge, SlidingWindow};
use super::errors::ApiError;
use super::jobs::Job;
use super::threads::Thread;

/// What the clones of a simulator share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) pool: Pool,
    pub(super) windows: Vec<SlidingWindow>,
    pub(super) jobs: Vec<Job>,
    pub(super) bills: Vec<Bill>,
    pub(super) threads: Vec<Thread>,
    /// Calls of Mave in progress that have a place.
    pub(super) talks: usize,
    pub(super) generations: Vec<Value>,
    pub(super) personas: Vec<Value>,
    pub(super) files: Vec<Value>,
    pub(super) books: Books,
    pub(super) started: Timestamp,
    /// When the billing period began, where that is not the first of the month, and what had been charged before.
    pub(super) billed_since: Option<(Timestamp, u64)>,
    /// Answers and things made so far: the next one's id follows from it.
    made: usize,
}

/// A charge that is to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bill {
    pub(super) due: Timestamp,
    pub(super) credits: u64,
    pub(super) to: Payer,
}

/// Whom a charge is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payer {
    pub(super) key: usize,
    /// The request's index in the books, if it is remembered.
    pub(super) index: Option<usize>,
}

impl State {
    pub(super) fn new(settings: Settings, now: Timestamp) -> Self {
        let pool = Pool {
            included: settings.credits,
            used: settings.spent,
            dashboard: 0,
            recharge: settings.recharge.map(|(threshold, amount)| Recharge { threshold, amount }),
        };
        Self {
            pool,
            windows: settings.keys.iter().map(|_| SlidingWindow::default()).collect(),
            jobs: vec![Job::demo()],
            bills: Vec::new(),
            threads: Vec::new(),
            talks: 0,
            generations: Vec::new(),
            personas: vec![json!({
                "id": "cpersona00000000000000001", "object": "persona", "name": "Early adopter", "created_at": 0,
            })],
            files: Vec::new(),
            books: Books::default(),
            started: now,
            billed_since: None,
            made: 0,
            settings,
        }
    }

    /// The number of the next thing that is made.
    pub(super) fn next(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// An id for it, of the 25 characters that a CUID has.
    pub(super) fn next_id(&mut self, prefix: &str) -> String {
        let width = 25 - prefix.len();
        format!("{prefix}{:0width$x}", self.next())
    }

    /// Whether there is a credit left to spend.
    pub(super) fn can_pay(&self) -> Result<(), ApiError> {
        let api: u64 = self.books.total_charged();
        if self.settings.workspace_budget.is_some_and(|budget| api >= budget) {
            return Err(ApiError::workspace_budget());
        }
        if self.pool.remaining() == 0 { Err(ApiError::credits_exhausted()) } else { Ok(()) }
    }

    /// Takes credits from the pool, and books them.
    pub(super) fn charge(&mut self, credits: u64, to: Payer) {
        self.books.recharged += self.pool.spend(credits);
        *self.books.charged.entry(to.key).or_default() += credits;
        if let Some(received) = to.index.and_then(|index| self.books.received.get_mut(index)) {
            received.charged += credits;
        }
    }

    /// Charges what has come due by now.
    pub(super) fn charge_due(&mut self, now: Timestamp) {
        let due: Vec<_> = self.bills.extract_if(.., |bill| bill.due <= now).collect();
        for Bill { credits, to, .. } in due {
            self.charge(credits, to);
        }
    }
}
