//! Jobs: video analyses, focus groups and brand voices.

use std::time::Duration;

use serde_json::Value;

use super::ask::Ask;
use super::list;
use super::said::Said;
use crate::Simulator;
use crate::call::Call;
use crate::errors::ApiError;
use crate::jobs::Job;
use crate::kinds::Kind;
use crate::quirks::StatusCase;
use crate::state::Bill;

/// How long a brand voice takes. Invented.
const VOICE_TIME: Duration = Duration::from_secs(30);

impl Simulator {
    /// Starts a job. What it costs is a bill to come, but for a brand voice, whose price is known.
    pub(super) fn create_job(&self, kind: Kind, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        let now = self.now();
        let mut state = self.state();
        state.can_pay()?;
        let unfinished = state.jobs.iter().filter(|job| job.kind == kind && job.is_unfinished(now)).count();
        if kind.cap().is_some_and(|cap| unfinished >= cap) {
            state.books.was_over_cap(kind.path());
            return Err(ApiError::over_cap(ask.quirks));
        }
        let body = ask.body.unwrap_or(&Value::Null);
        kind.check(body)?;
        let usual = match kind {
            Kind::VideoAnalysis => state.settings.analysis_time,
            Kind::FocusGroup => state.settings.focus_group_time,
            Kind::BrandVoice => VOICE_TIME,
        };
        let job = Job::new(state.next_id(kind.id_prefix()), kind, body, now, usual, ask.quirks);
        let mut owed = 0;
        if kind == Kind::BrandVoice {
            owed = job.price;
        } else {
            state.books.jobs_at_once(kind.path(), unfinished + 1);
            let bill = job.bill(ask.quirks.charging);
            state.bills.extend(bill.map(|(due, credits)| Bill { due, credits, to: call.payer() }));
        }
        let document = job.json(now, ask.quirks.status_case);
        let id = job.id.clone();
        state.jobs.push(job);
        drop(state);
        call.owes(owed, ask.quirks, false);
        call.answered(201, Some(&id));
        Ok(Said::Paid(201, document.to_string().into()))
    }

    pub(super) fn job(&self, kind: Kind, ask: &Ask<'_>) -> Result<Said, ApiError> {
        let job = self.find_job(kind, ask.id)?;
        Ok(Said::Free(200, job.json(self.now(), ask.quirks.status_case)))
    }

    pub(super) fn find_job(&self, kind: Kind, id: &str) -> Result<Job, ApiError> {
        let state = self.state();
        let found = state.jobs.iter().find(|job| job.kind == kind && job.id == id);
        found.cloned().ok_or_else(ApiError::not_found)
    }

    pub(super) fn video_analyses(&self, ask: &Ask<'_>) -> Said {
        let wanted = ask.parameter("status").map(str::to_lowercase);
        let jobs = self.jobs_that(ask, Kind::VideoAnalysis, |status| {
            wanted.as_ref().is_none_or(|wanted| wanted == status)
        });
        Said::Free(200, list::by_offset(ask, &jobs))
    }

    pub(super) fn brand_voices(&self, ask: &Ask<'_>) -> Said {
        Said::Free(200, list::by_cursor(ask, &self.jobs_that(ask, Kind::BrandVoice, |_| true)))
    }

    /// The documents of the jobs of a kind whose status is wanted.
    fn jobs_that(&self, ask: &Ask<'_>, kind: Kind, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let now = self.now();
        let state = self.state();
        let jobs = state.jobs.iter().filter(|job| job.kind == kind);
        jobs.filter(|job| wanted(&job.status(now).text(StatusCase::Lower)))
            .map(|job| job.json(now, ask.quirks.status_case))
            .collect()
    }
}
