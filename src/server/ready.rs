//! A stack as hyper calls it. It is always ready, so a call needs no copy of it, and none of its counts of owners, which all
//! workers share.
//!
//! A call begins when it is waited for, and not before: by then hyper has read what came behind a head, and what of a body is
//! left unread is known.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::service::Service as HyperService;
use pin_project_lite::pin_project;
use tower::Service;

/// A tower service that is always ready, as one of hyper's.
#[derive(Debug)]
pub(super) struct Ready<S>(Arc<Mutex<S>>);

impl<S> Ready<S> {
    pub(super) fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }
}

impl<R, S: Service<R>> HyperService<R> for Ready<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Called<S, R, S::Future>;

    fn call(&self, request: R) -> Self::Future {
        Called::Begins { service: Arc::clone(&self.0), request: Some(request) }
    }
}

pin_project! {
    /// A call of a stack.
    #[project = CalledProjection]
    pub(super) enum Called<S, R, F> {
        /// It was not waited for yet.
        Begins { service: Arc<Mutex<S>>, request: Option<R> },
        /// It goes on.
        Goes { #[pin] future: F },
    }
}

impl<R, S: Service<R>> Future for Called<S, R, S::Future> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                CalledProjection::Goes { future } => return future.poll(cx),
                CalledProjection::Begins { service, request } => {
                    let request = request.take().expect("it is taken once, and gone with that");
                    let future = service.lock().unwrap_or_else(PoisonError::into_inner).call(request);
                    self.set(Called::Goes { future });
                }
            }
        }
    }
}
