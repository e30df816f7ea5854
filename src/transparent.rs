//! What every body wrapper must be: transparent. One test that all of them pass.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

/// What a scripted body does at a poll.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    /// Nothing yet; and the waker is kept.
    Wait,
    Trailers,
    Break,
}

/// A body that does what it is told.
#[derive(Debug)]
pub(crate) struct Scripted {
    steps: VecDeque<Step>,
    watch: Watch,
}

/// What became of a scripted body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    polls: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

/// How a scripted body breaks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it broke, on purpose")]
pub(crate) struct Broken;

impl From<Broken> for crate::forward::body::error::BodyError {
    fn from(_: Broken) -> Self {
        Self::TimedOut(std::time::Duration::ZERO)
    }
}

impl From<crate::retry::Why> for Broken {
    fn from(_: crate::retry::Why) -> Self {
        Self
    }
}

/// The trailer that a scripted body ends with.
pub(crate) const TRAILER: HeaderName = HeaderName::from_static("x-checksum");

impl Watch {
    /// How often the body was asked.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }
}

impl Scripted {
    pub(crate) fn new(steps: &[Step]) -> (Self, Watch) {
        let watch = Watch::default();
        (Self { steps: steps.iter().cloned().collect(), watch: watch.clone() }, watch)
    }

    fn left(&self) -> u64 {
        let data = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        self.steps.iter().map(data).sum()
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.watch.polls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Trailers) => {
                let fields = [(TRAILER, HeaderValue::from_static("1"))];
                Some(Ok(Frame::trailers(HeaderMap::from_iter(fields))))
            }
            Some(Step::Break) => Some(Err(Broken)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.watch.dropped.store(true, Ordering::Relaxed);
    }
}

/// What came out of a body, and how often it had been asked by then.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    data: Vec<(usize, Bytes)>,
    trailers: Option<HeaderMap>,
    broke: bool,
}

/// Asserts of a wrapper that frames, trailers, hints, the end, back-pressure and an early drop are the wrapped body's own.
/// `wrap` makes one around a body.
pub(crate) fn assert_transparent<W>(wrap: impl Fn(Scripted) -> W)
where
    W: Body<Data = Bytes> + Unpin,
{
    let data = |text: &'static str| Step::Data(Bytes::from_static(text.as_bytes()));
    let scripts = [
        vec![],
        vec![data("one")],
        vec![data("one"), data(""), data("two")],
        vec![Step::Wait, data("one"), Step::Wait, Step::Wait, data("two"), Step::Wait],
        vec![data("one"), Step::Trailers],
        vec![Step::Trailers],
        vec![Step::Break],
        vec![data("one"), Step::Wait, data("two"), Step::Break],
    ];
    for script in scripts {
        frames_are_its_own(&wrap, &script);
        for taken in 0..=script.len() {
            an_early_drop_reaches_it(&wrap, &script, taken);
        }
    }
}

fn frames_are_its_own<W>(wrap: &impl Fn(Scripted) -> W, script: &[Step])
where
    W: Body<Data = Bytes> + Unpin,
{
    let (inner, watch) = Scripted::new(script);
    let mut wrapped = wrap(inner);
    let (mut twin, _) = Scripted::new(script);
    let mut seen = Seen::default();
    let mut cx = Context::from_waker(Waker::noop());
    // A wrapper may ask twice at a poll, once it has driven what the body comes on; and a break may come a poll late.
    for _ in 0..2 * script.len() + 3 {
        if !seen.broke && !script.iter().any(|step| matches!(step, Step::Break)) {
            assert_eq!(
                wrapped.size_hint().exact(),
                Some(twin.left()),
                "{script:?}: what is said to be left is what is left"
            );
        }
        let before = watch.polls();
        let frame = Pin::new(&mut wrapped).poll_frame(&mut cx);
        let asked = watch.polls() - before;
        assert!(asked <= 2, "{script:?}: a frame is read only when one is wanted");
        for _ in 0..asked {
            if let Some(step) = twin.steps.pop_front()
                && !matches!(step, Step::Wait)
            {
                assert!(frame.is_ready() || matches!(step, Step::Break), "{script:?}: nothing is held back");
            }
        }
        match frame {
            Poll::Pending => {}
            Poll::Ready(None) => break,
            Poll::Ready(Some(Err(_))) => seen.broke = true,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => seen.data.push((data.as_ptr() as usize, data)),
                Err(frame) => seen.trailers = frame.into_trailers().ok(),
            },
        }
    }
    let expected = Seen {
        data: script
            .iter()
            .filter_map(|step| match step {
                Step::Data(data) => Some((data.as_ptr() as usize, data.clone())),
                _ => None,
            })
            .collect(),
        trailers: script
            .iter()
            .any(|step| matches!(step, Step::Trailers))
            .then(|| HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("1"))])),
        broke: script.iter().any(|step| matches!(step, Step::Break)),
    };
    assert_eq!(seen, expected, "{script:?}: the same frames, at the same place in memory");
    if !seen.broke {
        assert!(wrapped.is_end_stream(), "{script:?}: its end is the body's");
    }
    drop(wrapped);
    assert!(watch.dropped.load(Ordering::Relaxed), "{script:?}");
}

fn an_early_drop_reaches_it<W>(wrap: &impl Fn(Scripted) -> W, script: &[Step], taken: usize)
where
    W: Body<Data = Bytes> + Unpin,
{
    let (inner, watch) = Scripted::new(script);
    let mut wrapped = wrap(inner);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..taken {
        let _ = Pin::new(&mut wrapped).poll_frame(&mut cx);
    }
    drop(wrapped);
    assert!(watch.dropped.load(Ordering::Relaxed), "{script:?} after {taken}: nothing keeps it");
}
