//! What is known of calls that may be made again: one table of keys, one of calls that were left, and the memory that their
//! answers may take.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::IntGauge;

use super::asked::Asked;
use super::kept;
use super::keys::{Found, Keys};
use super::orphans::Orphans;
use super::recording::{Keeping, Making, Reader, Recording, Standing};
use super::room::Room;
use super::seal::Seal;
use crate::admit::body::Judged;
use crate::books::local::LocalDesk;
use crate::books::open::Books;
use crate::clock::Clock;
use crate::config::{Bodies, Retries as Settings};
use crate::credits::Credits;
use crate::forward::drain::Drain;
use crate::head::RequestId;
use crate::ledger::{Answers, CallId, Fate, Reads, Retry, Search};
use crate::live::Live;
use crate::meter::{Finish, Reading, Usage};
use crate::metrics::Metrics;
use crate::record::course::{Course, Repeat};
use crate::record::series::Who;
use crate::refuse::Refusal;

/// How often keys and answers whose time is over are forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// The part of all memory for answers that one team may take.
const SHARE: usize = 4;

/// What is known of calls that may be made again.
pub struct Retries {
    clock: Clock,
    drain: Drain,
    desk: Arc<LocalDesk>,
    reads: Reads,
    answers: Arc<dyn Answers>,
    live: Arc<Live>,
    recorded: IntGauge,
    state: Mutex<State>,
}

struct State {
    keys: Keys,
    orphans: Orphans,
    room: Arc<Room>,
    teams: HashMap<Arc<str>, Arc<Room>>,
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries").finish_non_exhaustive()
    }
}

/// A call by the key that its caller gave it.
pub(super) struct Named {
    pub(super) retry: Retry,
    /// What seals its answer at rest, where answers are kept there.
    seal: Option<Seal>,
}

/// What becomes of a call with a key.
pub(super) enum Known {
    /// It is made: by this reader's first caller.
    Made(Reader),
    /// It is given this answer.
    Copied(Reader, Repeat),
    /// It is neither.
    Refused(Refusal, Repeat),
}

/// What has its own step behind the lock: it may have to be read from a disk.
enum Step {
    Done(Known),
    Ended(Option<CallId>, Fate),
}

impl Retries {
    /// Knows what the ledger knows of calls with keys.
    #[must_use]
    pub fn new(metrics: &Metrics, clock: Clock, books: &Books, live: &Arc<Live>, drain: &Drain) -> Self {
        let recorded =
            metrics.level("recorded_bytes", "Answers in memory for copies of their calls, in bytes.");
        let mut keys = Keys::default();
        let (now, wall) = (clock.now(), clock.wall());
        let keep = live.current().config.retries.keep;
        let known = std::mem::take(&mut *books.known.lock().unwrap_or_else(PoisonError::into_inner));
        for call in known {
            let age = Duration::try_from(wall.duration_since(call.at)).unwrap_or_default();
            keys.take_up(&call.retry, call.call, call.fate, now + keep.saturating_sub(age));
        }
        let room = Arc::new(Room::new(Some(recorded.clone())));
        let state = State { keys, orphans: Orphans::default(), room, teams: HashMap::new() };
        Self {
            clock,
            drain: drain.clone(),
            desk: Arc::clone(&books.desk),
            reads: books.reads.clone(),
            answers: Arc::clone(&books.answers),
            live: Arc::clone(live),
            recorded,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is past its time. Never returns.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let keep = self.live.current().config.retries.bodies.keep;
            let mut state = self.state();
            let now = self.clock.now();
            state.keys.sweep(keep, now);
            state.orphans.sweep(now);
        }
    }

    /// Answers in memory, in bytes.
    #[must_use]
    pub fn recorded_bytes(&self) -> i64 {
        self.recorded.get()
    }

    /// A call by its key.
    pub(super) fn name(judged: &Judged, text: &str) -> Named {
        let asked = Asked::of(judged);
        let retry = Retry { key: asked.key(&judged.caller.who.team, text), fingerprint: asked.fingerprint() };
        let seal = judged.snapshot.pepper.as_ref().and_then(|pepper| Seal::new(pepper, text, &retry));
        Named { retry, seal }
    }

    /// What becomes of a call with a key. `make` makes it, if it is to be made; nothing of it runs before its reader is polled.
    pub(super) async fn find(
        self: &Arc<Self>,
        named: Named,
        team: &Arc<str>,
        id: &RequestId,
        settings: &Settings,
        make: impl FnOnce(Arc<Course>) -> Making,
    ) -> Known {
        let Named { retry, seal } = named;
        let step = {
            let mut state = self.state();
            match state.keys.find(&retry, self.clock.now()) {
                Found::Nothing => {
                    return self.record(&mut state, (retry, seal), team, id, settings, make);
                }
                found => Self::copy(found),
            }
        };
        let known = match step {
            Step::Done(known) => return known,
            Step::Ended(call, fate) => self.ended(call, fate, &retry, seal.as_ref()).await,
        };
        if let Some(known) = known {
            return known;
        }
        // The ledger says by now that the call came to nothing. Another copy may have found that out at the same time.
        let mut state = self.state();
        match state.keys.find(&retry, self.clock.now()) {
            Found::Nothing | Found::Ended(_, Fate::Unknown) => {
                self.record(&mut state, (retry, seal), team, id, settings, make)
            }
            found => match Self::copy(found) {
                Step::Done(known) => known,
                Step::Ended(..) => Known::Refused(Refusal::RetryInProgress, Repeat::InProgress),
            },
        }
    }

    fn copy(found: Found) -> Step {
        let refused = |refusal, repeat| Step::Done(Known::Refused(refusal, repeat));
        match found {
            Found::Another => refused(Refusal::RetryKeyReused, Repeat::Reused),
            Found::Recorded(recording) => match recording.join() {
                Some((reader, standing)) => {
                    let original = recording.course().id().clone();
                    Step::Done(Known::Copied(
                        reader,
                        match standing {
                            Standing::Whole(_) => Repeat::Replayed(original),
                            _ => Repeat::Joined(original),
                        },
                    ))
                }
                None => refused(Refusal::RetryInProgress, Repeat::InProgress),
            },
            Found::Unreadable | Found::Nothing => refused(Refusal::RetryInProgress, Repeat::InProgress),
            Found::Ended(call, fate) => Step::Ended(call, fate),
        }
    }

    /// What becomes of a copy whose call has ended without an answer in memory. Nothing if the ledger says by now that the
    /// call came to nothing.
    async fn ended(
        &self,
        call: Option<CallId>,
        fate: Fate,
        retry: &Retry,
        seal: Option<&Seal>,
    ) -> Option<Known> {
        let booked = match call {
            Some(call) => self.booked(call).await,
            None => None,
        };
        let fate = match &booked {
            // What was in doubt has been held against the upstream's own list since.
            Some(booked) if booked.is_final && fate == Fate::Unknown && booked.credits == Credits::ZERO => {
                return None;
            }
            Some(booked) if booked.is_final => Fate::Answered,
            _ => fate,
        };
        if fate != Fate::Answered {
            return Some(Known::Refused(Refusal::RetryOutcomeUnknown, Repeat::Unknown));
        }
        if let (Some(call), Some(seal)) = (call, seal)
            && let Some(recording) = self.at_rest(call, retry, seal, booked.as_ref()).await
            && let Some((reader, _)) = recording.join()
        {
            let original = recording.course().id().clone();
            return Some(Known::Copied(reader, Repeat::Replayed(original)));
        }
        let (credits, response_id) =
            booked.map_or((None, None), |booked| (Some(booked.credits), booked.response_id));
        Some(Known::Refused(Refusal::RetryAnswerGone { credits, response_id }, Repeat::Gone))
    }

    /// How a call is booked, as far as the ledger can be read.
    async fn booked(&self, call: CallId) -> Option<Booked> {
        let search = Search { before: Some(call + 1), limit: 1, ..Search::default() };
        let found = self.reads.look(move |reading| reading.calls(&search)).await;
        let found = found.inspect_err(|error| tracing::warn!(%error, "cannot read a call from the ledger"));
        let found = found.ok()?.requests.into_iter().find(|found| found.call == call)?;
        Some(Booked {
            credits: found.credits,
            is_final: found.basis.as_deref().is_some_and(|basis| basis != "estimated"),
            response_id: found.response_id,
        })
    }

    /// An answer at rest.
    async fn at_rest(
        &self,
        call: CallId,
        retry: &Retry,
        seal: &Seal,
        booked: Option<&Booked>,
    ) -> Option<Arc<Recording>> {
        let (answers, now) = (Arc::clone(&self.answers), self.clock.wall());
        let found = tokio::task::spawn_blocking(move || answers.find(call, now)).await.ok()?;
        let found =
            found.inspect_err(|error| tracing::warn!(%error, "cannot read an answer from the ledger"));
        let kept::Kept { request_id, head, frames } = kept::read(&seal.open(&found.ok()??)?)?;
        let id = RequestId::from_text(&request_id)?;
        let reading = Reading {
            usage: Usage { credits: booked.map(|booked| booked.credits), ..Usage::default() },
            response_id: booked.and_then(|booked| booked.response_id.clone()),
            finish: Some(Finish::Completed),
        };
        let course = Arc::new(Course::answered(*retry, id, call, &reading));
        let unbounded = || Arc::new(Room::unbounded());
        // It is in memory for as long as it is read, and was small enough to be kept.
        let keeping = Keeping { most: usize::MAX, rooms: [unbounded(), unbounded()], whole: None };
        Some(Recording::kept(head, frames, course, keeping, (self.clock, self.drain.clone())))
    }

    /// Makes a call, under its key.
    fn record(
        self: &Arc<Self>,
        state: &mut State,
        (retry, seal): (Retry, Option<Seal>),
        team: &Arc<str>,
        id: &RequestId,
        Settings { keep, bodies, .. }: &Settings,
        make: impl FnOnce(Arc<Course>) -> Making,
    ) -> Known {
        let course = Arc::new(Course::new(Some(retry), id.clone()));
        let mut keeping = self.keeping(state, team, bodies);
        if let Some(seal) = seal {
            let (retries, total) = (Arc::downgrade(self), bodies.total);
            let until = self.clock.wall().saturating_add(*keep).unwrap_or(Timestamp::MAX);
            keeping.whole = Some(Box::new(move |recording| {
                if let Some(retries) = retries.upgrade() {
                    retries.put_to_rest(&recording, &seal, until, total);
                }
            }));
        }
        let making = make(Arc::clone(&course));
        let reader = Recording::of(making, course, keeping, (self.clock, self.drain.clone()));
        state.keys.record(&retry, Arc::clone(reader.recording()), self.clock.now() + *keep);
        Known::Made(reader)
    }

    /// Room for another answer of a team: older ones that are over go where it is tight.
    fn keeping(&self, state: &mut State, team: &Arc<str>, bodies: &Bodies) -> Keeping {
        let all = Arc::clone(&state.room);
        let own =
            Arc::clone(state.teams.entry(Arc::clone(team)).or_insert_with(|| Arc::new(Room::new(None))));
        all.resize(bodies.total);
        own.resize(bodies.total / SHARE);
        let now = self.clock.now();
        if own.is_tight() {
            state.keys.make_room(now, |recording| own.is_tight() && recording.is_in(&own));
        }
        if all.is_tight() {
            state.keys.make_room(now, |_| all.is_tight());
        }
        Keeping { most: bodies.max_body, rooms: [all, own], whole: None }
    }

    /// Seals an answer and writes it where it outlives the process. Nobody waits for it.
    fn put_to_rest(&self, recording: &Recording, seal: &Seal, until: Timestamp, total: usize) {
        let course = recording.course();
        let answered = course.over().is_some_and(|end| end.fate == Fate::Answered);
        let (Some(call), Some((head, frames)), true) = (course.call(), recording.content(), answered) else {
            return;
        };
        let Some(sealed) =
            kept::write(course.id().as_str(), &head, &frames).and_then(|plain| seal.close(plain))
        else {
            return;
        };
        let (answers, now) = (Arc::clone(&self.answers), self.clock.wall());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn_blocking(move || {
            if let Err(error) = answers.keep(call, &sealed, (now, until), total) {
                tracing::warn!(%error, call, "an answer could not be kept for copies of its call");
            }
        });
    }

    /// A copy has its answer: what it would have cost is saved.
    pub(super) fn copied(&self, course: &Course, who: &Who) {
        if let Some(credits) = course.copied().and_then(|usage| usage.credits) {
            self.desk.saved(&who.team, &who.key_id, 1, credits);
        }
    }

    /// The caller of a call without a key has left before it had anything of the answer.
    pub(super) fn leave(
        &self,
        like: [u8; 32],
        team: &Arc<str>,
        bodies: &Bodies,
        making: Making,
        course: Arc<Course>,
    ) {
        let reader = {
            let mut state = self.state();
            let keeping = self.keeping(&mut state, team, bodies);
            let reader = Recording::of(making, course, keeping, (self.clock, self.drain.clone()));
            state.orphans.leave(like, Arc::clone(reader.recording()));
            reader
        };
        // Hands it to the drain.
        drop(reader);
    }

    /// Takes over a call that was left.
    pub(super) fn adopt(&self, like: [u8; 32]) -> Option<Arc<Recording>> {
        let now = self.clock.now();
        self.state().orphans.take(like, now)
    }

    /// Its new caller has left too.
    pub(super) fn leave_again(&self, like: [u8; 32], recording: Arc<Recording>) {
        self.state().orphans.leave(like, recording);
    }
}

/// How a call is booked.
struct Booked {
    credits: Credits,
    is_final: bool,
    response_id: Option<String>,
}
