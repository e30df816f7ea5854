//! The body of an answer, and the connection it comes on.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::upstream::{Connection, Upstream};

/// Drives its connection while it has nothing to say, and gives it back at its end.
pub struct Driven {
    body: Incoming,
    connection: Option<Connection>,
    upstream: Rc<Upstream>,
}

impl Driven {
    pub fn new(body: Incoming, connection: Connection, upstream: Rc<Upstream>) -> Self {
        let mut driven = Self { body, connection: Some(connection), upstream };
        driven.let_go_at_the_end();
        driven
    }

    fn let_go_at_the_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            self.upstream.keep(connection);
        }
    }
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(connection) = &mut self.connection
        {
            connection.drive(cx);
            frame = Pin::new(&mut self.body).poll_frame(cx);
        }
        match &frame {
            Poll::Ready(Some(Ok(_))) => self.let_go_at_the_end(),
            Poll::Ready(None) => {
                if let Some(connection) = self.connection.take() {
                    self.upstream.keep(connection);
                }
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
