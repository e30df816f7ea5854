//! The stage between a call's body and the desk: a call that is made again goes no further.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Layer, Service};

use super::asked::Asked;
use super::copy::{Shared, copy, own};
use super::reader::Reader;
use super::reads::Read;
use super::recording::{Making, Recording, Why};
use super::retries::{Known, Named, Retries};
use crate::admit::body::Judged;
use crate::arrival::Refused;
use crate::config::{Bodies, OnDisconnect};
use crate::forward::body::late::Late;
use crate::head::idempotency::{key, sdk_retries};
use crate::head::received::{Field, Received};
use crate::record::course::{Course, Repeat};
use crate::record::series::Who;
use crate::stage::Fork;

/// The layer of [`Repeated`].
#[derive(Clone, Debug)]
pub struct RetryLayer(pub Arc<Retries>);

impl<S> Layer<S> for RetryLayer {
    type Service = Repeated<S>;

    fn layer(&self, inner: S) -> Repeated<S> {
        Repeated { inner, retries: Arc::clone(&self.0) }
    }
}

/// A service behind the stage. Cloned for every request.
#[derive(Clone, Debug)]
pub struct Repeated<S> {
    inner: S,
    retries: Arc<Retries>,
}

/// What the stages behind make of a call.
type Made<A> = Pin<Box<dyn Future<Output = Result<Response<A>, Refused>> + Send>>;
/// What this stage makes of it: for its own caller alone, or with what others are given.
type Answering<A> = Fork<Alone<A>, Pin<Box<dyn Future<Output = Answered<A>> + Send>>>;
/// How that ends.
type Answered<A> = Result<Response<Answer<A>>, Refused>;

impl<S, A> Service<Box<Judged>> for Repeated<S>
where
    S: Service<Box<Judged>, Response = Response<A>, Error = Refused, Future = Made<A>>,
    S: Clone + Send + 'static,
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    type Response = Response<Answer<A>>;
    type Error = Refused;
    type Future = Answering<A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, judged: Box<Judged>) -> Self::Future {
        let head = &judged.head;
        let costs = judged.target.route.row().costs();
        if let Some(read) = Read::of(&judged) {
            let (retries, inner) = (Arc::clone(&self.retries), self.inner.clone());
            return Fork::Here { future: Box::pin(read_once(retries, inner, judged, read)) };
        }
        match if costs && head.has(Field::IdempotencyKey) { key(&head.headers) } else { Ok(None) } {
            Err(refusal) => {
                let refused = Refused::new(judged.exchange, refusal);
                Fork::Here { future: Box::pin(std::future::ready(Err(refused))) }
            }
            Ok(Some(key)) => {
                let named = Retries::name(&judged, &key);
                let (retries, inner) = (Arc::clone(&self.retries), self.inner.clone());
                Fork::Here { future: Box::pin(keyed(retries, inner, judged, named)) }
            }
            Ok(None) => match sdk(head).filter(|_| costs && may_adopt(&judged)) {
                None => Fork::Onward { future: Alone { made: Some(self.inner.call(judged)), chance: None } },
                Some(retries) => self.alone(judged, retries > 0),
            },
        }
    }
}

/// How often an SDK says that it has made a call before.
fn sdk(head: &Received) -> Option<u32> {
    if head.has(Field::SdkRetries) { sdk_retries(&head.headers) } else { None }
}

/// Whether the call is one that goes on when its caller leaves, and may be taken over then.
fn may_adopt(judged: &Judged) -> bool {
    let config = &judged.snapshot.config;
    config.retries.adopt && config.upstream.on_disconnect == OnDisconnect::Drain
}

impl<S, A> Repeated<S>
where
    S: Service<Box<Judged>, Response = Response<A>, Error = Refused, Future = Made<A>>,
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    /// A call of an SDK without a key: it takes over the one that it repeats, or may be taken over itself.
    fn alone(&mut self, mut judged: Box<Judged>, repeats: bool) -> Answering<A> {
        let (retries, who) = (&self.retries, Arc::clone(&judged.caller.who));
        let asked = Asked::of(&judged);
        if repeats {
            let like = asked.likeness(&who.key_id);
            if let Some(reader) = retries.adopt(like) {
                let recording = Some(Arc::clone(reader.recording()));
                let adoption = Adoption { retries: Arc::clone(retries), like, recording };
                return Fork::Here { future: Box::pin(adopted(adoption, reader, judged)) };
            }
        }
        let course = Arc::new(Course::new(None, judged.exchange.id().clone()));
        judged.exchange.follow(Arc::clone(&course));
        let bodies = judged.snapshot.config.retries.bodies.clone();
        let chance = Chance { retries: Arc::clone(retries), course, who, asked, bodies };
        let (made, chance) = (Some(self.inner.call(judged)), Some(Box::new(chance)));
        Fork::Onward { future: Alone { made, chance } }
    }
}

/// A call that is made for its own caller alone. If it may be taken over, and its caller leaves before the head of the answer
/// is there, it goes on where it can be found.
pub struct Alone<A>
where
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    made: Option<Made<A>>,
    chance: Option<Box<Chance>>,
}

struct Chance {
    retries: Arc<Retries>,
    course: Arc<Course>,
    who: Arc<Who>,
    asked: Asked,
    bodies: Bodies,
}

impl<A> Future for Alone<A>
where
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    type Output = Answered<A>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let made = self.made.as_mut().expect("a call is not polled after its end");
        let answered = ready!(made.as_mut().poll(cx));
        self.made = None;
        Poll::Ready(answered.map(|response| response.map(Answer::Only)))
    }
}

impl<A> Drop for Alone<A>
where
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    fn drop(&mut self) {
        // One that was not sent yet ends here.
        if let (Some(made), Some(chance)) = (self.made.take(), self.chance.take())
            && chance.course.is_sent()
        {
            let Chance { retries, course, who, asked, bodies } = *chance;
            retries.leave(asked.likeness(&who.key_id), &who.team, &bodies, making(made), course);
        }
    }
}

/// What the stages behind make of a call, whatever their bodies are.
fn making<A>(made: Made<A>) -> Making
where
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    Box::pin(async move {
        let response = made.await?;
        Ok(response.map(|body| body.map_err(|error| Why::of(&error)).boxed_unsync()))
    })
}

/// A call with a key: made, if none has been made under it.
async fn keyed<S, A>(retries: Arc<Retries>, mut inner: S, judged: Box<Judged>, named: Named) -> Answered<A>
where
    S: Service<Box<Judged>, Response = Response<A>, Error = Refused, Future = Made<A>>,
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    let who = Arc::clone(&judged.caller.who);
    let snapshot = Arc::clone(&judged.snapshot);
    let id = judged.exchange.id().clone();
    let mut judged = Some(judged);
    let make = |course| {
        let mut judged = judged.take().expect("a call is made once");
        judged.exchange.follow(course);
        judged.exchange.repeats(Repeat::Executed);
        making(inner.call(judged))
    };
    let known = retries.find(named, &who.team, &id, &snapshot.config.retries, make).await;
    answered(&retries, known, judged).await
}

/// A read: made, unless the same one was made a moment ago.
async fn read_once<S, A>(retries: Arc<Retries>, mut inner: S, judged: Box<Judged>, read: Read) -> Answered<A>
where
    S: Service<Box<Judged>, Response = Response<A>, Error = Refused, Future = Made<A>>,
    A: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
{
    let who = Arc::clone(&judged.caller.who);
    let (snapshot, id) = (Arc::clone(&judged.snapshot), judged.exchange.id().clone());
    let mut judged = Some(judged);
    let known = retries.share(read, (&who.team, &id), &snapshot.config.retries.bodies, |course| {
        let mut judged = judged.take().expect("a call is made once");
        judged.exchange.follow(course);
        making(inner.call(judged))
    });
    let judged = match (known, judged) {
        (Some(Known::Copied(reader, repeat)), Some(judged)) => match shared(reader, &repeat, judged).await {
            Ok(answered) => return answered,
            Err(judged) => judged,
        },
        (None, Some(judged)) => judged,
        (Some(known), judged) => return answered(&retries, known, judged).await,
        (None, None) => unreachable!("a call that was made has its answer"),
    };
    inner.call(judged).await.map(|response| response.map(Answer::Only))
}

/// A read that is the same as another, given that one's answer; or back, to be made itself: the other did not come so far as to
/// be sent, which is no word on this one, or its answer may be larger than what is kept for whoever is behind.
async fn shared<A>(
    mut reader: Reader,
    repeat: &Repeat,
    mut judged: Box<Judged>,
) -> Result<Answered<A>, Box<Judged>> {
    judged.exchange.follows();
    let head = reader.head().await;
    judged.exchange.followed();
    match head {
        Ok(head) if reader.recording().keeps(&head) => {
            let Judged { mut exchange, permit, .. } = *judged;
            exchange.repeats(repeat.clone());
            Ok(Ok(copy(&head, reader, repeat, exchange, permit).map(Answer::shared)))
        }
        Err(refusal) if reader.recording().course().is_sent() => {
            judged.exchange.repeats(repeat.clone());
            Ok(Err(Refused::new(judged.exchange, refusal)))
        }
        _ => Err(judged),
    }
}

/// What becomes of a call by what is known of it; it is here still if it was not made.
async fn answered<A>(retries: &Retries, known: Known, judged: Option<Box<Judged>>) -> Answered<A> {
    match (known, judged) {
        (Known::Copied(reader, repeat), Some(judged)) => copied(retries, reader, repeat, judged).await,
        (Known::Refused(refusal, repeat), Some(mut judged)) => {
            judged.exchange.repeats(repeat);
            Err(Refused::new(judged.exchange, refusal))
        }
        (Known::Made(mut reader), _) => match reader.head().await {
            Ok(head) => Ok(own(&head, reader).map(Answer::shared)),
            Err(_) => Err(reader.refused().expect("whoever made the call ends its record")),
        },
        (Known::Copied(..) | Known::Refused(..), None) => unreachable!("a call that was made is neither"),
    }
}

/// A copy of a call, given that one's answer.
async fn copied<A>(
    retries: &Retries,
    mut reader: Reader,
    repeat: Repeat,
    judged: Box<Judged>,
) -> Answered<A> {
    let Judged { mut exchange, caller, permit, target, .. } = *judged;
    exchange.repeats(repeat.clone());
    exchange.follows();
    let head = reader.head().await;
    exchange.followed();
    match head {
        Ok(head) => {
            retries.copied(reader.recording().course(), &caller.who, target.route);
            Ok(copy(&head, reader, &repeat, exchange, permit).map(Answer::shared))
        }
        Err(refusal) => Err(Refused::new(exchange, refusal)),
    }
}

/// The retry of an SDK, given the answer of the call that it repeats.
async fn adopted<A>(mut adoption: Adoption, reader: Reader, judged: Box<Judged>) -> Answered<A> {
    let original = reader.recording().course().id().clone();
    let retries = Arc::clone(&adoption.retries);
    let answered = copied(&retries, reader, Repeat::Adopted(original), judged).await;
    // It has a reader now: another call that is the same is another call.
    adoption.recording = None;
    answered
}

/// A call that was left, on its way to its new caller. If that one leaves too, it can be taken over again.
struct Adoption {
    retries: Arc<Retries>,
    like: [u8; 32],
    recording: Option<Arc<Recording>>,
}

impl Drop for Adoption {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            self.retries.leave_again(self.like, recording);
        }
    }
}

/// The body of an answer: one caller's alone, or one that several may read.
pub enum Answer<A> {
    /// As it comes.
    Only(A),
    /// With others. A break is told late here too: one that catches up may be given frames and the break at once.
    Shared(Box<Late<Shared, Why>>),
}

impl<A> Answer<A> {
    fn shared(body: Shared) -> Self {
        Self::Shared(Box::new(Late::new(body)))
    }
}

/// One error for both, so that a frame for one alone goes through as it is.
impl<A: Body<Data = Bytes, Error: From<Why>> + Unpin> Body for Answer<A> {
    type Data = Bytes;
    type Error = A::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, A::Error>>> {
        match self.get_mut() {
            Self::Only(body) => Pin::new(body).poll_frame(cx),
            Self::Shared(body) => Pin::new(body).poll_frame(cx).map_err(Why::into),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Only(body) => body.is_end_stream(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Only(body) => body.size_hint(),
            Self::Shared(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transparent::assert_transparent;

    #[test]
    fn an_answer_for_one_is_passed_on_as_it_is() {
        assert_transparent(Answer::Only);
    }
}
