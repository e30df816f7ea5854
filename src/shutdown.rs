//! How a gateway ends: what is told when, and the tasks that are waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// The stages of a shutdown, for whoever takes part in it. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Every task that belongs to a call.
    pub tasks: TaskTracker,
    /// Cancelled when the shutdown begins: not ready, no new connections, and those there are close after the answer
    /// to their next request.
    pub draining: Signal,
    /// Cancelled soon after that: no new calls, and connections without one close.
    pub closing: Signal,
    /// Cancelled when the grace is over: calls in flight are cut.
    pub cut: Signal,
}

/// A [`CancellationToken`] that is asked at every call and waited for by every connection: its state is a flag of its own, so
/// that neither takes a lock that all workers share.
#[derive(Clone, Debug, Default)]
pub struct Signal {
    token: CancellationToken,
    is_given: Arc<AtomicBool>,
}

impl Signal {
    /// Tells all who wait.
    pub fn cancel(&self) {
        self.is_given.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is_given.load(Ordering::Acquire)
    }

    /// Resolves when it is told.
    pub fn cancelled(&self) -> Cancelled<'_> {
        Cancelled { signal: self, told: self.token.cancelled(), waker: None }
    }

    /// Runs work to its end, or until this is told: then there is nothing.
    pub fn run_until_cancelled<F: Future>(&self, work: F) -> Until<'_, F> {
        Until { cancelled: self.cancelled(), work }
    }
}

pin_project! {
    /// See [`Signal::run_until_cancelled`].
    #[derive(Debug)]
    pub struct Until<'s, F> {
        #[pin]
        cancelled: Cancelled<'s>,
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for Until<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = self.project();
        if this.cancelled.poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        this.work.poll(cx).map(Some)
    }
}

pin_project! {
    /// See [`Signal::cancelled`].
    #[derive(Debug)]
    pub struct Cancelled<'s> {
        signal: &'s Signal,
        #[pin]
        told: WaitForCancellationFuture<'s>,
        // Whom it will wake: a task that is woken by something else has only to look at the flag.
        waker: Option<Waker>,
    }
}

impl Future for Cancelled<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.signal.is_cancelled() {
            return Poll::Ready(());
        }
        if this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        *this.waker = Some(cx.waker().clone());
        this.told.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_told_whoever_has_woken_them_before() {
        let signal = Signal::default();
        let waits = || {
            let signal = signal.clone();
            tokio::spawn(async move {
                let woken = async {
                    for _ in 0..3 {
                        tokio::task::yield_now().await;
                    }
                    std::future::pending::<()>().await;
                };
                signal.run_until_cancelled(woken).await
            })
        };
        let waiting = [waits(), waits()];
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        assert!(!signal.is_cancelled() && !waiting[0].is_finished());
        signal.cancel();
        for wait in waiting {
            assert_eq!(wait.await.unwrap(), None);
        }
        assert_eq!(signal.run_until_cancelled(std::future::ready(1)).await, None, "also who comes too late");
        signal.cancelled().await;
    }

    #[tokio::test]
    async fn what_moves_to_another_task_is_told_there() {
        let signal = Signal::default();
        let polled = Box::pin({
            let signal = signal.clone();
            async move { signal.cancelled().await }
        });
        let mut polled = polled;
        assert!(polled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let moved = tokio::spawn(polled);
        tokio::task::yield_now().await;
        signal.cancel();
        moved.await.unwrap();
    }
}
