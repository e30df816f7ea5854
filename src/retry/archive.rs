//! Calls whose answer is not in memory: what the ledger knows of them, and, where answers are kept at rest, the answer.

use std::sync::Arc;

use jiff::Timestamp;

use super::kept::{self, Kept};
use super::recording::Recording;
use super::seal::Seal;
use crate::clock::Clock;
use crate::credits::Credits;
use crate::head::RequestId;
use crate::ledger::{Answers, CallId, Fate, Reads, Retry, Search};
use crate::meter::{Finish, Reading, Usage};
use crate::record::course::{Course, Repeat};
use crate::refuse::Refusal;

/// Looks up what the ledger knows.
pub(super) struct Archive {
    pub(super) clock: Clock,
    pub(super) reads: Reads,
    pub(super) answers: Arc<dyn Answers>,
}

/// What has become of a call.
pub(super) enum Past {
    /// It came to nothing, as is known by now.
    Free,
    /// This is its answer, as it was kept.
    Kept(Box<(Kept, Arc<Course>)>, Refusal),
    /// Its copies are refused.
    Refused(Refusal, Repeat),
}

impl Archive {
    /// What is to be told of a call that has ended, and came to this as far as it is remembered.
    pub(super) async fn tell(
        &self,
        call: Option<CallId>,
        fate: Fate,
        retry: &Retry,
        seal: Option<&Seal>,
    ) -> Past {
        let booked = match call {
            Some(call) => self.booked(call).await,
            None => None,
        };
        let fate = match &booked {
            // What was in doubt has been held against the upstream's own list since.
            Some(booked) if booked.is_final && fate == Fate::Unknown && booked.credits == Credits::ZERO => {
                return Past::Free;
            }
            Some(booked) if booked.is_final => Fate::Answered,
            _ => fate,
        };
        if fate != Fate::Answered {
            return Past::Refused(Refusal::RetryOutcomeUnknown, Repeat::Unknown);
        }
        let kept = match (call, seal) {
            (Some(call), Some(seal)) => self.at_rest(call, retry, seal, booked.as_ref()).await,
            _ => None,
        };
        let (credits, response_id) =
            booked.map_or((None, None), |booked| (Some(booked.credits), booked.response_id));
        let gone = Refusal::RetryAnswerGone { credits, response_id };
        match kept {
            Some(kept) => Past::Kept(Box::new(kept), gone),
            None => Past::Refused(gone, Repeat::Gone),
        }
    }

    /// How a call is booked, as far as the ledger can be read.
    async fn booked(&self, call: CallId) -> Option<Booked> {
        let search = Search { before: Some(call + 1), limit: 1, ..Search::default() };
        let found = self.reads.look(move |reading| reading.calls(&search)).await;
        let found = found.inspect_err(|error| tracing::warn!(%error, "cannot read a call from the ledger"));
        let found = found.ok()?.requests.into_iter().find(|found| found.call == call)?;
        Some(Booked {
            credits: found.credits,
            is_final: found.basis.as_deref().is_some_and(|basis| basis != "estimated"),
            response_id: found.response_id,
        })
    }

    /// An answer at rest.
    async fn at_rest(
        &self,
        call: CallId,
        retry: &Retry,
        seal: &Seal,
        booked: Option<&Booked>,
    ) -> Option<(Kept, Arc<Course>)> {
        let (answers, now) = (Arc::clone(&self.answers), self.clock.wall());
        let found = tokio::task::spawn_blocking(move || answers.find(call, now)).await.ok()?;
        let found =
            found.inspect_err(|error| tracing::warn!(%error, "cannot read an answer from the ledger"));
        let kept = kept::read(&seal.open(&found.ok()??)?)?;
        let id = RequestId::from_text(&kept.request_id)?;
        let reading = Reading {
            usage: Usage { credits: booked.map(|booked| booked.credits), ..Usage::default() },
            response_id: booked.and_then(|booked| booked.response_id.clone()),
            finish: Some(Finish::Completed),
            ..Reading::default()
        };
        Some((kept, Arc::new(Course::answered(*retry, id, call, &reading))))
    }

    /// Takes answers out of the ledger's file whose time is over. Nobody waits for it.
    pub(super) fn expire(&self) {
        let (answers, now) = (Arc::clone(&self.answers), self.clock.wall());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = answers.expire(now) {
                tracing::warn!(%error, "answers whose time is over stay in the ledger's file");
            }
        });
    }

    /// Seals an answer and writes it where it outlives the process. Nobody waits for it.
    pub(super) fn put_to_rest(&self, recording: &Recording, seal: &Seal, until: Timestamp, total: usize) {
        let course = recording.course();
        let answered = course.over().is_some_and(|end| end.fate == Fate::Answered);
        let (Some(call), Some((head, frames)), true) = (course.call(), recording.content(), answered) else {
            return;
        };
        let Some(sealed) =
            kept::write(course.id().as_str(), &head, &frames).and_then(|plain| seal.close(plain))
        else {
            return;
        };
        let (answers, now) = (Arc::clone(&self.answers), self.clock.wall());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn_blocking(move || {
            if let Err(error) = answers.keep(call, &sealed, (now, until), total) {
                tracing::warn!(%error, call, "an answer could not be kept for copies of its call");
            }
        });
    }
}

/// How a call is booked.
struct Booked {
    credits: Credits,
    is_final: bool,
    response_id: Option<String>,
}
