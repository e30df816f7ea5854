//! The table of keys: which call each names, and what is known of it. It knows no clock and no lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::recording::{Recording, Standing};
use crate::ledger::{CallId, Fate, Retry};

/// Keys that are known at the same time: beyond, the oldest are forgotten. More than the largest plan can make in a day.
const MOST: usize = 1 << 20;

/// The table of keys.
pub(super) struct Keys {
    most: usize,
    known: HashMap<[u8; 32], Entry>,
    /// By when they came, with when they are forgotten.
    by_age: VecDeque<(Instant, [u8; 32])>,
    /// Those whose answer may be in memory, by when they came.
    recorded: VecDeque<[u8; 32]>,
}

struct Entry {
    fingerprint: [u8; 32],
    until: Instant,
    state: State,
}

enum State {
    /// It is under way, or its answer is in memory.
    Recorded(Arc<Recording>),
    /// It has ended, and its answer is not in memory.
    Ended(Option<CallId>, Fate),
}

/// What is known of a call by its key.
pub(super) enum Found {
    /// Nothing that keeps it from being made.
    Nothing,
    /// The key is another call's.
    Another,
    /// This is its answer, or will be.
    Recorded(Arc<Recording>),
    /// It is under way, and its answer cannot be had.
    Unreadable,
    /// It has come to this.
    Ended(Option<CallId>, Fate),
}

impl Default for Keys {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Keys {
    fn of(most: usize) -> Self {
        Self { most, known: HashMap::new(), by_age: VecDeque::new(), recorded: VecDeque::new() }
    }

    /// What is known of a call.
    pub(super) fn find(&mut self, retry: &Retry, now: Instant) -> Found {
        let Some(entry) =
            self.known.get_mut(&retry.key).filter(|entry| now < entry.until || entry.is_under_way())
        else {
            return Found::Nothing;
        };
        entry.settle(Duration::MAX, now);
        if entry.is_free() {
            return Found::Nothing;
        }
        if entry.fingerprint != retry.fingerprint {
            return Found::Another;
        }
        match &entry.state {
            State::Recorded(recording) if recording.standing() == Standing::Lost => Found::Unreadable,
            State::Recorded(recording) => Found::Recorded(Arc::clone(recording)),
            State::Ended(call, fate) => Found::Ended(*call, *fate),
        }
    }

    /// A call is made under its key, which names it until then.
    pub(super) fn record(&mut self, retry: &Retry, recording: Arc<Recording>, until: Instant) {
        self.insert(retry, State::Recorded(recording), until);
        self.recorded.push_back(retry.key);
    }

    /// The answer of a call that has ended is in memory again.
    pub(super) fn restore(&mut self, retry: &Retry, recording: &Arc<Recording>) {
        if let Some(entry) = self.known.get_mut(&retry.key)
            && matches!(entry.state, State::Ended(call, _) if call == recording.course().call())
        {
            entry.state = State::Recorded(Arc::clone(recording));
            self.recorded.push_back(retry.key);
        }
    }

    /// Takes up a call that another process made.
    pub(super) fn take_up(&mut self, retry: &Retry, call: CallId, fate: Fate, until: Instant) {
        if fate == Fate::Free {
            self.known.remove(&retry.key);
        } else {
            self.insert(retry, State::Ended(Some(call), fate), until);
        }
    }

    fn insert(&mut self, retry: &Retry, state: State, until: Instant) {
        self.known.insert(retry.key, Entry { fingerprint: retry.fingerprint, until, state });
        self.by_age.push_back((until, retry.key));
        // Those that are under way are passed over, and are few.
        let mut looks = self.by_age.len();
        while self.known.len() > self.most && looks > 0 {
            self.forget_oldest();
            looks -= 1;
        }
        // Keys that were freed stand in here until their time is over.
        if self.by_age.len() > 2 * self.most {
            let known = &self.known;
            self.by_age.retain(|(until, key)| known.get(key).is_some_and(|entry| entry.until == *until));
        }
    }

    /// Forgets keys whose time is over, and answers that ended longer than `keep` ago.
    pub(super) fn sweep(&mut self, keep: Duration, now: Instant) {
        let mut looks = self.by_age.len();
        while looks > 0 && self.by_age.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
            looks -= 1;
        }
        let known = &mut self.known;
        self.recorded.retain(|key| {
            let Some(entry) = known.get_mut(key) else { return false };
            entry.settle(keep, now);
            if entry.is_free() {
                known.remove(key);
                return false;
            }
            matches!(entry.state, State::Recorded(_))
        });
    }

    /// Lets answers that are over go, the oldest first, while `goes` says so of them.
    pub(super) fn make_room(&mut self, now: Instant, mut goes: impl FnMut(&Recording) -> bool) {
        for key in &self.recorded {
            let Some(entry) = self.known.get_mut(key) else { continue };
            if let State::Recorded(recording) = &entry.state
                && recording.course().is_over()
                && goes(recording)
            {
                entry.settle(Duration::ZERO, now);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until, key)) = self.by_age.pop_front() else { return };
        match self.known.get(&key) {
            // What is under way is known by its key until it has ended, however long that takes.
            Some(entry) if entry.until == until && entry.is_under_way() => {
                self.by_age.push_back((until, key));
            }
            Some(entry) if entry.until == until => drop(self.known.remove(&key)),
            // It was freed; what has the key since is younger.
            _ => {}
        }
    }
}

impl Entry {
    /// Lets the answer go where it can be had no more, or was kept long enough.
    fn settle(&mut self, keep: Duration, now: Instant) {
        let State::Recorded(recording) = &self.state else { return };
        let Some(end) = recording.course().over() else { return };
        let is_kept = match recording.standing() {
            Standing::Going => true,
            Standing::Whole(since) => now.saturating_duration_since(since) < keep,
            Standing::Lost => false,
        };
        // Of an answer that says not how it ended nobody is told that it did.
        if !is_kept || end.fate != Fate::Answered {
            self.state = State::Ended(recording.course().call(), end.fate);
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(&self.state, State::Recorded(recording) if !recording.course().is_over() && !recording.is_abandoned())
    }

    /// The call that had the key came to nothing.
    fn is_free(&self) -> bool {
        match &self.state {
            State::Recorded(recording) => recording.is_abandoned(),
            State::Ended(_, fate) => *fate == Fate::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn keys_are_forgotten_in_time_and_beyond_their_number_and_what_was_freed_counts_for_nothing() {
        let (now, hour) = (Clock::system().now(), Duration::from_hours(1));
        let retry = |key| Retry { key: [key; 32], fingerprint: [0; 32] };
        let mut keys = Keys::of(3);
        let ended = |keys: &mut Keys, key, at: Instant| match keys.find(&retry(key), at) {
            Found::Ended(call, fate) => Some((call, fate)),
            Found::Nothing => None,
            _ => panic!("nothing else was put in"),
        };
        for key in 1..=3 {
            keys.take_up(&retry(key), key.into(), Fate::Unknown, now + hour * key.into());
        }
        for key in 4..=100 {
            keys.take_up(&retry(key), key.into(), Fate::Free, now + hour * 9);
        }
        assert_eq!(ended(&mut keys, 1, now), Some((Some(1), Fate::Unknown)));
        assert!(matches!(keys.find(&Retry { fingerprint: [1; 32], ..retry(1) }, now), Found::Another));
        // One more than there may be: the oldest goes.
        keys.take_up(&retry(101), 101, Fate::Answered, now + hour * 9);
        assert_eq!(ended(&mut keys, 1, now), None);
        assert_eq!(ended(&mut keys, 101, now), Some((Some(101), Fate::Answered)));
        // A key that was freed, and used again: what it was before takes nothing from it.
        keys.take_up(&retry(2), 2, Fate::Free, now);
        assert_eq!(ended(&mut keys, 2, now), None);
        keys.take_up(&retry(2), 200, Fate::Unknown, now + hour * 9);
        keys.sweep(Duration::ZERO, now + hour * 2);
        assert_eq!(ended(&mut keys, 2, now + hour * 2), Some((Some(200), Fate::Unknown)));
        assert_eq!(ended(&mut keys, 3, now + hour * 3), None, "its time is over, swept or not");
        keys.sweep(Duration::ZERO, now + hour * 9);
        assert!(keys.known.is_empty() && keys.by_age.is_empty());
    }
}
