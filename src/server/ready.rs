//! A stack as hyper calls it. It is always ready, so a call needs no copy of it, and none of its counts of owners, which all
//! workers share.

use std::cell::RefCell;

use hyper::service::Service as HyperService;
use tower::Service;

/// A tower service that is always ready, as one of hyper's.
#[derive(Debug)]
pub(super) struct Ready<S>(RefCell<S>);

impl<S> Ready<S> {
    pub(super) fn new(service: S) -> Self {
        Self(RefCell::new(service))
    }
}

impl<R, S: Service<R>> HyperService<R> for Ready<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> S::Future {
        // Free: a call makes a future, and makes no other call.
        self.0.borrow_mut().call(request)
    }
}
