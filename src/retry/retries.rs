//! What is known of calls that may be made again: one table of keys, one of calls that were left, and the memory that their
//! answers may take.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::archive::{Archive, Past};
use super::asked::Asked;
use super::kept::Kept;
use super::keys::{Found, Keys};
use super::orphans::Orphans;
use super::reader::Reader;
use super::reads::{Read, Reads};
use super::recording::{Keeping, Making, Recording, Standing};
use super::room::Room;
use super::seal::Seal;
use crate::admit::body::Judged;
use crate::books::calls::Elsewhere;
use crate::books::keeper::Keeper;
use crate::books::open::Books;
use crate::clock::Clock;
use crate::config::{Bodies, Retries as Settings};
use crate::forward::drain::Drain;
use crate::head::RequestId;
use crate::ledger::{Account, Fate, Retry};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::record::course::{Course, Repeat};
use crate::record::series::Who;
use crate::refuse::Refusal;
use crate::route::Route;

/// How often keys and answers whose time is over are forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// How often answers at rest are looked through.
const EXPIRE: Duration = Duration::from_mins(10);
/// The part of all memory for answers that one team may take.
const SHARE: usize = 4;

/// What is known of calls that may be made again.
pub struct Retries {
    clock: Clock,
    drain: Drain,
    desk: Arc<Keeper>,
    archive: Arc<Archive>,
    live: Arc<Live>,
    pub(super) reads: Reads,
    state: Mutex<State>,
}

struct State {
    keys: Keys,
    orphans: Orphans,
    room: Arc<Room>,
    teams: HashMap<Arc<str>, Arc<Room>>,
}

impl State {
    /// Lets answers that are over go where there is little room: for those that come, and for those that go on.
    fn make_room(&mut self, now: Instant) {
        let Self { keys, room, teams, .. } = self;
        for own in teams.values().filter(|own| own.is_tight()) {
            keys.make_room(now, |recording| own.is_tight() && recording.is_in(own));
        }
        if room.is_tight() {
            keys.make_room(now, |_| room.is_tight());
        }
    }
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

impl Known {
    /// What becomes of a copy of what was found. Waits for whoever has the answer: not behind a lock.
    fn found(found: &Found) -> Self {
        let joined = match found {
            Found::Another => return Self::Refused(Refusal::RetryKeyReused, Repeat::Reused),
            Found::Recorded(recording) => Reader::join(recording),
            // What another copy makes or has found out at this moment is told to the next.
            Found::Unreadable | Found::Nothing | Found::Ended(..) => None,
        };
        let Some((reader, standing)) = joined else {
            return Self::Refused(Refusal::RetryInProgress, Repeat::InProgress);
        };
        let original = reader.recording().course().id().clone();
        Self::Copied(
            reader,
            match standing {
                Standing::Whole(_) => Repeat::Replayed(original),
                _ => Repeat::Joined(original),
            },
        )
    }
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
        let room = Arc::new(Room::new(Some(recorded)));
        let state = State { keys, orphans: Orphans::default(), room, teams: HashMap::new() };
        let (reads, answers) = (books.reads.clone(), Arc::clone(&books.answers));
        Self {
            clock,
            drain: drain.clone(),
            desk: Arc::clone(&books.desk),
            archive: Arc::new(Archive { clock, reads, answers }),
            live: Arc::clone(live),
            reads: Reads::default(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is past its time. Never returns.
    pub async fn watch(&self) {
        let mut expired = None;
        loop {
            tokio::time::sleep(SWEEP).await;
            let snapshot = self.live.current();
            let keep = snapshot.config.retries.bodies.keep;
            let now = self.clock.now();
            self.reads.sweep(now);
            {
                let mut state = self.state();
                state.keys.sweep(keep, now);
                state.orphans.sweep(now);
                state.make_room(now);
            }
            if snapshot.pepper.is_some() && expired.is_none_or(|at| now >= at + EXPIRE) {
                self.archive.expire();
                expired = Some(now);
            }
        }
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
        &self,
        named: Named,
        team: &Arc<str>,
        id: &RequestId,
        settings: &Settings,
        make: impl FnOnce(Arc<Course>) -> Making,
    ) -> Known {
        let Named { retry, seal } = named;
        let mut found = self.state().keys.find(&retry, self.clock.now());
        if let (Found::Nothing, Some(elsewhere)) = (&found, self.elsewhere(&retry).await) {
            found = elsewhere;
        }
        if let Found::Nothing = found {
            let mut state = self.state();
            found = match state.keys.find(&retry, self.clock.now()) {
                Found::Nothing => return self.record(&mut state, (retry, seal), team, id, settings, make),
                // Another copy has come meanwhile.
                found => found,
            };
        }
        let Found::Ended(call, fate) = found else { return Known::found(&found) };
        match self.archive.tell(call, fate, &retry, seal.as_ref()).await {
            Past::Free => {
                if let Some(call) = call {
                    self.desk.comes_to_nothing(&retry, call);
                }
            }
            Past::Kept(kept, gone) => return self.restore(&retry, *kept, team, &settings.bodies, gone),
            Past::Refused(refusal, repeat) => return Known::Refused(refusal, repeat),
        }
        // The ledger says by now that the call came to nothing. Another copy may have found that out at the same time, and
        // have made it.
        let mut state = self.state();
        match state.keys.find(&retry, self.clock.now()) {
            Found::Nothing => self.record(&mut state, (retry, seal), team, id, settings, make),
            Found::Ended(same, Fate::Unknown) if same == call => {
                self.record(&mut state, (retry, seal), team, id, settings, make)
            }
            found => {
                drop(state);
                Known::found(&found)
            }
        }
    }

    /// What is known of a call that another gateway has made.
    async fn elsewhere(&self, retry: &Retry) -> Option<Found> {
        Some(match self.desk.elsewhere(retry).await? {
            Elsewhere::Another => Found::Another,
            Elsewhere::UnderWay => Found::Unreadable,
            Elsewhere::Ended(call, fate) => Found::Ended(Some(call), fate),
        })
    }

    /// Gives a copy what was kept at rest, and those that come after it too, as far as there is room.
    fn restore(
        &self,
        retry: &Retry,
        (kept, course): (Kept, Arc<Course>),
        team: &Arc<str>,
        bodies: &Bodies,
        gone: Refusal,
    ) -> Known {
        let Kept { head, frames, .. } = kept;
        let mut state = self.state();
        let keeping = self.keeping(&mut state, team, bodies);
        let recording = Recording::kept(head, frames, course, keeping, (self.clock, self.drain.clone()));
        state.keys.restore(retry, &recording);
        drop(state);
        match Known::found(&Found::Recorded(recording)) {
            Known::Refused(..) => Known::Refused(gone, Repeat::Gone),
            copied => copied,
        }
    }

    /// Makes a call, under its key.
    fn record(
        &self,
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
            let (archive, total) = (Arc::clone(&self.archive), bodies.total);
            let until = self.clock.wall().saturating_add(*keep).unwrap_or(Timestamp::MAX);
            keeping.whole =
                Some(Box::new(move |recording| archive.put_to_rest(&recording, &seal, until, total)));
        }
        let making = make(Arc::clone(&course));
        let recording = Recording::of(making, course, keeping, (self.clock, self.drain.clone()));
        state.keys.record(&retry, Arc::clone(&recording), self.clock.now() + *keep);
        Known::Made(Reader::first(recording))
    }

    /// Room for another answer of a team: older ones that are over go where it is tight.
    fn keeping(&self, state: &mut State, team: &Arc<str>, bodies: &Bodies) -> Keeping {
        let all = Arc::clone(&state.room);
        let own =
            Arc::clone(state.teams.entry(Arc::clone(team)).or_insert_with(|| Arc::new(Room::new(None))));
        all.resize(bodies.total);
        own.resize(bodies.total / SHARE);
        state.make_room(self.clock.now());
        Keeping { most: bodies.max_body, rooms: [all, own], whole: None }
    }

    /// A copy has its answer: what it would have cost is saved.
    pub(super) fn copied(&self, course: &Course, who: &Who, route: Route) {
        if let Some(credits) = course.copied().and_then(|usage| usage.credits) {
            let (team, key_id) = (Arc::clone(&who.team), Arc::clone(&who.key_id));
            self.desk.saved(Account { team, key_id, route: Some(route) }, 1, credits);
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
        let recording = {
            let mut state = self.state();
            let keeping = self.keeping(&mut state, team, bodies);
            let recording = Recording::of(making, course, keeping, (self.clock, self.drain.clone()));
            state.orphans.leave(like, Arc::clone(&recording));
            recording
        };
        // Its only reader, who leaves: that hands it to the drain.
        drop(Reader::first(recording));
    }

    /// A read: made by `make`, or given the answer of the same one that was made a moment ago. Nothing where that one's answer
    /// cannot be had any more.
    pub(super) fn share(
        &self,
        read: Read,
        (team, id): (&Arc<str>, &RequestId),
        bodies: &Bodies,
        make: impl FnOnce(Arc<Course>) -> Making,
    ) -> Option<Known> {
        let (recording, shared) = self.reads.share(read, self.clock.now(), || {
            let course = Arc::new(Course::new(None, id.clone()));
            let keeping = self.keeping(&mut self.state(), team, bodies);
            let making = make(Arc::clone(&course));
            Recording::of(making, course, keeping, (self.clock, self.drain.clone()))
        });
        if !shared {
            return Some(Known::Made(Reader::first(recording)));
        }
        let (reader, _) = Reader::join(&recording)?;
        Some(Known::Copied(reader, Repeat::Shared(recording.course().id().clone())))
    }

    /// Takes over a call that was left.
    pub(super) fn adopt(&self, like: [u8; 32]) -> Option<Reader> {
        loop {
            let recording = self.state().orphans.take(like, self.clock.now())?;
            if let Some((reader, _)) = Reader::join(&recording) {
                return Some(reader);
            }
        }
    }

    /// Its new caller has left too.
    pub(super) fn leave_again(&self, like: [u8; 32], recording: Arc<Recording>) {
        self.state().orphans.leave(like, recording);
    }
}
