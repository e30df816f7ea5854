//! Wakes all who read one answer: whoever of them polls next drives it.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Wakes whoever reads.
#[derive(Default)]
pub(super) struct Wakers(Mutex<Vec<Option<Waker>>>);

impl Wakers {
    /// Who is woken for a reader.
    pub(super) fn set(&self, reader: usize, waker: Option<&Waker>) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wakers.len() <= reader {
            wakers.resize(reader + 1, None);
        }
        match (&mut wakers[reader], waker) {
            (Some(before), Some(waker)) => before.clone_from(waker),
            (slot, waker) => *slot = waker.cloned(),
        }
    }
}

impl Wakers {
    /// Something has come: to all but the reader who has it already.
    pub(super) fn wake_others(self: &Arc<Self>, reader: usize) {
        self.set(reader, None);
        self.wake_by_ref();
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever polls again says so again.
        let waiting: Vec<Waker> = {
            let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            wakers.iter_mut().filter_map(Option::take).collect()
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
