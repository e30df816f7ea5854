//! A call asks the desk, waits for its turn if it must, and has what it was given written down before it goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::hold::Hold;
use super::local::LocalDesk;
use super::place::{Came, Place, RoutePermit};
use super::queue_counts::Waited;
use super::state::{Given, Told};
use crate::desk::{Ask, No, Refused, Ticket, Verdict};
use crate::ledger::{Receipt, Retry};
use crate::refuse::Refusal;
use crate::route::Route;

/// The longest that a call waits for its hold to be written. A disk that works needs a tenth of it.
const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// What a call asks for, and for which route.
#[derive(Clone, Debug)]
pub struct Asked<'r> {
    /// What it asks for.
    pub ask: Ask,
    /// For what.
    pub route: Route,
    /// The id that the caller sees.
    pub request_id: &'r str,
    /// What tells its retries from other calls.
    pub retry: Option<Box<Retry>>,
}

/// A call that is not admitted.
#[derive(Debug)]
pub struct Denied {
    /// Why not.
    pub refusal: Refusal,
    /// How long it waited.
    pub queued: Duration,
}

/// What a call was given: it may be sent.
#[derive(Debug)]
pub struct Admission {
    /// Its place in the window.
    pub place: Place,
    /// The credits it may cost, if it costs any, and its place of a route that is capped.
    pub hold: Option<Hold>,
    /// How long it waited.
    pub queued: Duration,
}

impl LocalDesk {
    /// Asks for all that a call needs, at once or when it is its turn. What it costs is durably in the ledger before this
    /// returns. Where others hold the credits it needs, or the period is about to end, it waits for that too; and who waits has
    /// nothing that others could use. A call that was put back stands where it stood.
    ///
    /// Cancel-safe: dropped while it waits, it has nothing; dropped while the ledger writes, what it was given is given back.
    ///
    /// # Errors
    /// Whose limit is in the way and for how long, or that the ledger cannot write.
    pub async fn admit(self: &Arc<Self>, asked: Asked<'_>, again: Option<Came>) -> Result<Admission, Denied> {
        let Asked { ask, route, request_id, retry } = asked;
        let began = self.clock.now();
        let (given, queued) = match self.ask(ask, route, again) {
            Asking::Given(given) => (given, Duration::ZERO),
            Asking::Waits(waiter) => {
                let told = waiter.told().await;
                let queued = self.clock.now().saturating_duration_since(began);
                (told.map_err(|refusal| Denied { refusal, queued })?, queued)
            }
            Asking::Refused(refusal) => return Err(Denied { refusal, queued: Duration::ZERO }),
        };
        let mut admission = self.admission(given, route, queued);
        if again.is_some() {
            admission.place.came = None;
        }
        let Some(hold) = &admission.hold else { return Ok(admission) };
        let written = match self.ledger.hold(hold.entry(request_id, retry)) {
            // The disk may hang: then it will be written after all, some time, and ended as one that was never sent.
            waiting @ Receipt::Waiting(_) => tokio::time::timeout(LONGEST_WRITE, waiting).await.ok(),
            told => Some(told.await),
        };
        match (written, admission.hold) {
            (Some(Err(_)), Some(hold)) => hold.not_written(),
            (Some(Ok(())), hold) => return Ok(Admission { hold, ..admission }),
            (_, late) => drop(late),
        }
        Err(Denied { refusal: Refusal::LedgerUnavailable, queued })
    }

    /// A place for a request of our own, which costs nothing, if nobody waits for it.
    #[must_use]
    pub fn spare_place(self: &Arc<Self>) -> Option<Place> {
        let sent_at = self.clock.since_origin();
        let tick = self.state().desk.spare_place(sent_at)?;
        Some(Place { desk: Arc::clone(self), team: "".into(), tick, sent: false, sent_at, came: None })
    }

    fn ask(self: &Arc<Self>, ask: Ask, route: Route, again: Option<Came>) -> Asking {
        let mut state = self.state();
        let now = state.roll();
        let team = Arc::clone(&ask.team);
        let verdict = match again {
            Some(came) => {
                state.desk.put_back(ask, (came.ticket, self.clock.since_origin_of(came.joined)), now)
            }
            None => state.desk.ask(ask, now),
        };
        match verdict {
            Verdict::Granted(granted) => Asking::Given(state.give(granted)),
            Verdict::Waits(ticket) if state.closing => {
                state.desk.leave(&team, ticket, now);
                Asking::Refused(Refusal::Draining)
            }
            Verdict::Waits(ticket) => {
                let told = self.wait(&mut state, ticket);
                Asking::Waits(Waiter { desk: Arc::clone(self), team, ticket, route, told })
            }
            Verdict::Refused(refused) => {
                let Refused { ask, no } = *refused;
                match no {
                    No::QueueFull { .. } => self.counts.waited(&team, Waited::Full, Duration::ZERO),
                    No::Short { .. } | No::Upstream { .. } => {}
                    _ => self.counts.waited(&team, Waited::Hopeless, Duration::ZERO),
                }
                Asking::Refused(state.refusal(no, &ask, Duration::ZERO, now))
            }
        }
    }

    /// What was given, each in a guard of its own.
    fn admission(self: &Arc<Self>, given: Given, route: Route, queued: Duration) -> Admission {
        let granted = &given.granted;
        let joined = self.clock.after_origin(granted.joined);
        let came = Came { ticket: granted.ticket, joined, until: joined + granted.ask.patience.turn };
        let (team, tick) = (Arc::clone(&granted.ask.team), granted.tick);
        let sent_at = self.clock.since_origin();
        let place = Place { desk: Arc::clone(self), team, tick, sent: false, sent_at, came: Some(came) };
        let permit = granted.ask.cap.map(|_| RoutePermit {
            desk: Arc::clone(self),
            team: Arc::clone(&granted.ask.team),
            route: granted.ask.route,
        });
        let hold = granted.ask.costs.then(|| Hold::new(Arc::clone(self), given, route, permit));
        Admission { place, hold, queued }
    }
}

/// What becomes of a call at once.
enum Asking {
    Given(Given),
    Waits(Waiter),
    Refused(Refusal),
}

/// A call that waits. Dropped, it leaves.
struct Waiter {
    desk: Arc<LocalDesk>,
    team: Arc<str>,
    ticket: Ticket,
    route: Route,
    told: oneshot::Receiver<Told>,
}

impl Waiter {
    async fn told(mut self) -> Told {
        // Whoever tells is there as long as the call is among the callers.
        (&mut self.told).await.unwrap_or(Err(Refusal::Draining))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        let now = self.desk.clock.since_origin();
        if let Some(joined) = state.leave(&self.team, self.ticket, now) {
            self.desk.counts.waited(&self.team, Waited::Left, now.saturating_sub(joined));
            // Whoever stood behind it may go.
            self.desk.turn(&mut state);
            return;
        }
        drop(state);
        // It was given something at the very moment it left: the guards give it back.
        if let Ok(Ok(given)) = self.told.try_recv() {
            let Admission { hold, .. } = self.desk.admission(given, self.route, Duration::ZERO);
            if let Some(hold) = hold {
                hold.not_written();
            }
        }
    }
}
