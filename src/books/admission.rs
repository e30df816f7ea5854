//! A call asks the desk, waits for its turn if it must, and has what it was given written down before it goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::calls::Booking;
use super::common::Given;
use super::hold::Hold;
use super::home::Home;
use super::keeper::Keeper;
use super::limits::Limits;
use super::place::{Came, Place, Presence, RoutePermit};
use super::queue_counts::Waited;
use super::shared::Shared;
use super::state::Told;
use crate::desk::{Ask, No, Refused, Ticket, Verdict};
use crate::ledger::{Receipt, Retry};
use crate::refuse::Refusal;
use crate::route::Route;

/// The longest that a call waits for its hold to be written. A disk that works needs a tenth of it.
const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// By when what another gateway had to say is told: it gathers for a fifth of it, and then takes its turn.
const UNTIL_TOLD: Duration = Duration::from_millis(100);

/// What a call asks for.
#[derive(Clone, Debug)]
pub struct Asked<'r> {
    /// What it asks for.
    pub ask: Ask,
    /// The id that the caller sees.
    pub request_id: &'r str,
    /// What tells its retries from other calls.
    pub retry: Option<Box<Retry>>,
    /// What its team is held to, over all gateways where there are several.
    pub limits: Option<Limits>,
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
    /// That it counts among its team's calls at other gateways too.
    pub presence: Option<Presence>,
    /// How long it waited.
    pub queued: Duration,
}

impl Keeper {
    /// Asks for all that a call needs, at once or when it is its turn. What it costs is durably in the ledger before this
    /// returns. Where others hold the credits it needs, or the period is about to end, it waits for that too; and who waits has
    /// nothing that others could use. A call that was put back stands where it stood.
    ///
    /// Cancel-safe: dropped while it waits, it has nothing; dropped while the ledger writes, what it was given is given back.
    ///
    /// # Errors
    /// Whose limit is in the way and for how long, or that the ledger cannot write.
    pub async fn admit(self: &Arc<Self>, asked: Asked<'_>, again: Option<Came>) -> Result<Admission, Denied> {
        let Asked { ask, request_id, retry, limits } = asked;
        let began = self.clock.now();
        let (told, waited) = match &self.home {
            Home::Local(_) => match self.ask(ask, again) {
                Asking::Given(given) => (Ok(given), false),
                Asking::Waits(waiter) => (waiter.told().await, true),
                Asking::Refused(refusal) => (Err(refusal), false),
            },
            Home::Shared(shared) => {
                // One that was put back counts among its team's already.
                let limits = limits.filter(|_| again.is_none());
                let booking = shared.booking(request_id, retry.as_deref().copied(), limits);
                // Boxed: a desk that is here asks nobody.
                (Box::pin(self.ask_shared(shared, &ask, &booking, again)).await, true)
            }
        };
        let queued = if waited { self.clock.now().saturating_duration_since(began) } else { Duration::ZERO };
        let given = told.map_err(|refusal| Denied { refusal, queued })?;
        let mut admission = self.admission(given, queued);
        if again.is_some() {
            admission.place.came = None;
        }
        let Some(hold) = &admission.hold else { return Ok(admission) };
        let written = match self.ledger.hold(hold.entry(request_id, retry)) {
            // The disk may hang: then it will be written after all, some time, and ended as one that was never sent.
            waiting @ Receipt::Waiting(_) => {
                Box::pin(tokio::time::timeout(LONGEST_WRITE, waiting)).await.ok()
            }
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
    pub async fn spare_place(self: &Arc<Self>) -> Option<Place> {
        let sent_at = self.moment();
        let (tick, good_until) = match &self.home {
            Home::Local(_) => (self.state().common.desk.spare_place(sent_at)?, None),
            Home::Shared(shared) => shared.spare_place().await?,
        };
        let desk = Arc::clone(self);
        Some(Place { desk, team: "".into(), tick, sent: false, good_until, sent_at, came: None })
    }

    /// Where several gateways ask one desk, what it says is told in the next turn.
    ///
    /// That a call is over is told then too, and the team's next may be at another gateway by that time: who is one too many
    /// asks once more.
    async fn ask_shared(
        self: &Arc<Self>,
        shared: &Shared,
        ask: &Ask,
        booking: &Booking,
        again: Option<Came>,
    ) -> Told {
        let came = again.map(|came| (came.ticket, came.joined_at));
        let once = || Waiter {
            desk: Arc::clone(self),
            team: Arc::clone(&ask.team),
            ticket: None,
            told: shared.ask(ask.clone(), came, booking.clone()),
            is_done: false,
        };
        match once().told().await {
            Err(Refusal::ConcurrencyLimited { .. }) => {
                tokio::time::sleep(UNTIL_TOLD).await;
                once().told().await
            }
            told => told,
        }
    }

    fn ask(self: &Arc<Self>, ask: Ask, again: Option<Came>) -> Asking {
        let mut state = self.state();
        let now = self.look_at(&mut state);
        let team = Arc::clone(&ask.team);
        let verdict = match again {
            Some(came) => state.common.desk.put_back(ask, (came.ticket, came.joined_at), now),
            None => state.common.desk.ask(ask, now),
        };
        match verdict {
            Verdict::Granted(granted) => Asking::Given(state.common.give(granted)),
            Verdict::Waits(ticket) if state.closing => {
                state.common.desk.leave(&team, ticket, now);
                Asking::Refused(Refusal::Draining)
            }
            Verdict::Waits(ticket) => {
                let told = self.wait(&mut state, ticket);
                Asking::Waits(Waiter {
                    desk: Arc::clone(self),
                    team,
                    ticket: Some(ticket),
                    told,
                    is_done: false,
                })
            }
            Verdict::Refused(refused) => {
                let Refused { ask, no } = *refused;
                self.count_refused(&team, &no);
                Asking::Refused(state.refusal(no, &ask, Duration::ZERO, now))
            }
        }
    }

    /// A call that cannot go at once is not served.
    pub(super) fn count_refused(&self, team: &str, no: &No) {
        match no {
            No::QueueFull { .. } => self.counts.waited(team, Waited::Full, Duration::ZERO),
            No::Short { .. } | No::Upstream { .. } => {}
            _ => self.counts.waited(team, Waited::Hopeless, Duration::ZERO),
        }
    }

    /// What was given, each in a guard of its own.
    fn admission(self: &Arc<Self>, given: Given, queued: Duration) -> Admission {
        let Given { granted, call, good_until, counts } = &given;
        let (joined, route) = (self.instant(granted.joined), granted.ask.route);
        let until = joined + granted.ask.patience.turn;
        let came = Some(Came { ticket: granted.ticket, joined_at: granted.joined, until });
        let (team, tick, sent_at) = (Arc::clone(&granted.ask.team), granted.tick, self.moment());
        let good_until = *good_until;
        let place = Place { desk: Arc::clone(self), team, tick, sent: false, good_until, sent_at, came };
        let (desk, whose, owner) = (Arc::clone(self), &granted.ask.team, granted.ask.owner);
        let presence = counts.then(|| Presence { desk, team: Arc::clone(whose), owner });
        // By number, and of this program's own table.
        let hold = Route::all().nth(route).filter(|_| granted.ask.costs).map(|route| {
            let permit = granted.ask.cap.map(|_| RoutePermit {
                desk: Arc::clone(self),
                call: *call,
                team: Arc::clone(&granted.ask.team),
                route,
            });
            (route, permit)
        });
        let hold = hold.map(|of_route| Hold::new(Arc::clone(self), given, of_route, queued));
        Admission { place, hold, presence, queued }
    }

    /// Gives back what a call was given that has left at this moment.
    pub(super) fn give_back(self: &Arc<Self>, given: Given) {
        let Admission { hold, .. } = self.admission(given, Duration::ZERO);
        // Where it is written together with being given, it ends as one that was never sent.
        if let (Some(hold), Home::Local(_)) = (hold, &self.home) {
            hold.not_written();
        }
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
    desk: Arc<Keeper>,
    team: Arc<str>,
    /// Where it is known at once.
    ticket: Option<Ticket>,
    told: oneshot::Receiver<Told>,
    /// It was told.
    is_done: bool,
}

impl Waiter {
    async fn told(mut self) -> Told {
        // Whoever tells is there as long as the call is among the callers.
        let told = (&mut self.told).await.unwrap_or(Err(Refusal::Draining));
        self.is_done = true;
        told
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        match &self.desk.home {
            Home::Local(_) => {
                let mut state = self.desk.state();
                let now = self.desk.moment();
                if let Some(joined) = self.ticket.and_then(|ticket| state.leave(&self.team, ticket, now)) {
                    self.desk.counts.waited(&self.team, Waited::Left, now.saturating_sub(joined));
                    // Whoever stood behind it may go.
                    self.desk.turn(&mut state);
                    return;
                }
            }
            Home::Shared(shared) => {
                // From here on it is not told anything; what it is told already is given back below.
                self.told.close();
                shared.left();
            }
        }
        // It was given something at the very moment it left: the guards give it back.
        if let Ok(Ok(given)) = self.told.try_recv() {
            self.desk.give_back(given);
        }
    }
}
