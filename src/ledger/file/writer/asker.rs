//! Who waits for a hold to be written, and how they are told: all of one event loop together. Waking a loop from another thread
//! costs a system call; so the writer leaves its word with each loop, and wakes it once.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::ledger::write::Unavailable;

/// By which one who waits is told.
type Answer = oneshot::Sender<Result<(), Unavailable>>;

/// Who waits for a hold to be written.
#[derive(Debug)]
pub(super) struct Asker {
    answer: Answer,
    /// Where it is told with others of its event loop.
    mailbox: Option<Arc<Mailbox>>,
}

impl Asker {
    /// One on this event loop, and what it waits for.
    pub(super) fn new() -> (Self, oneshot::Receiver<Result<(), Unavailable>>) {
        let (answer, told) = oneshot::channel();
        (Self { answer, mailbox: Mailbox::here() }, told)
    }

    /// It could not be written.
    pub(super) fn refuse(self, why: Unavailable) {
        // Whoever asked may have left.
        let _ = self.answer.send(Err(why));
    }
}

/// Tells askers that what they asked for is written.
pub(super) fn tell(askers: Vec<Asker>) {
    let mut mailboxes: Vec<Arc<Mailbox>> = Vec::new();
    for Asker { answer, mailbox } in askers {
        let left = match &mailbox {
            Some(mailbox) => mailbox.put(answer),
            None => Some(answer),
        };
        if let Some(answer) = left {
            let _ = answer.send(Ok(()));
        } else if let Some(mailbox) = mailbox
            && !mailboxes.iter().any(|known| Arc::ptr_eq(known, &mailbox))
        {
            mailboxes.push(mailbox);
        }
    }
    for mailbox in mailboxes {
        mailbox.arrived.notify_one();
    }
}

/// Where word for the askers of one event loop is left.
#[derive(Debug, Default)]
struct Mailbox {
    inside: Mutex<Inside>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    answers: Vec<Answer>,
    /// Its event loop is gone.
    closed: bool,
}

thread_local! {
    static HERE: RefCell<Option<Arc<Mailbox>>> = const { RefCell::new(None) };
}

impl Mailbox {
    /// That of the event loop that this is called on, if it is called on one.
    fn here() -> Option<Arc<Self>> {
        let runtime = Handle::try_current().ok()?;
        HERE.with_borrow_mut(|here| {
            if let Some(mailbox) = here.as_ref().filter(|mailbox| !mailbox.inside().closed) {
                return Some(Arc::clone(mailbox));
            }
            let mailbox = Arc::<Self>::default();
            let opener = Opener(Arc::clone(&mailbox));
            runtime.spawn(opener.open());
            *here = Some(Arc::clone(&mailbox));
            Some(mailbox)
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves word; back if nobody would read it.
    fn put(&self, answer: Answer) -> Option<Answer> {
        let mut inside = self.inside();
        if inside.closed {
            return Some(answer);
        }
        inside.answers.push(answer);
        None
    }
}

/// Reads what is left in a mailbox, on its event loop, for as long as that is there.
struct Opener(Arc<Mailbox>);

impl Opener {
    async fn open(self) {
        loop {
            self.0.arrived.notified().await;
            self.tell_all();
        }
    }

    fn tell_all(&self) {
        let answers = std::mem::take(&mut self.0.inside().answers);
        for answer in answers {
            let _ = answer.send(Ok(()));
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.inside().closed = true;
        self.tell_all();
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn askers_of_several_loops_are_told_and_a_loop_that_follows_another_has_its_own() {
        for _ in 0..2 {
            let runtime = Builder::new_current_thread().build().unwrap();
            let (here, there) = std::sync::mpsc::sync_channel(1);
            let elsewhere = std::thread::spawn(move || {
                let runtime = Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let (asker, answer) = Asker::new();
                    here.send(asker).unwrap();
                    answer.await.unwrap().unwrap();
                });
            });
            runtime.block_on(async {
                let (askers, answers): (Vec<_>, Vec<_>) = (0..3).map(|_| Asker::new()).unzip();
                let another = there.recv().unwrap();
                let writer = std::thread::spawn(|| tell(askers.into_iter().chain([another]).collect()));
                for answer in answers {
                    answer.await.unwrap().unwrap();
                }
                writer.join().unwrap();
            });
            elsewhere.join().unwrap();
        }
    }

    #[test]
    fn who_asks_outside_of_an_event_loop_or_of_one_that_is_gone_is_told_all_the_same() {
        let (asker, mut told) = Asker::new();
        tell(vec![asker]);
        assert!(told.try_recv().unwrap().is_ok());
        let runtime = Builder::new_current_thread().build().unwrap();
        let (asker, mut told) = runtime.block_on(async { Asker::new() });
        drop(runtime);
        tell(vec![asker]);
        assert!(told.try_recv().unwrap().is_ok());
    }
}
