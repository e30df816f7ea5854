//! Simulated jobs: created pending, completed or failed as their time passes. Their price is a bill that
//! comes due when they end.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::DEMO_ANALYSIS;
use super::kinds::Kind;
use super::price;
use super::quirks::{Charging, JobPrice, Quirks, Refund, StatusCase};

/// Chunks an analysis is made of here; progress counts them.
const CHUNKS: u64 = 10;

/// One job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) kind: Kind,
    created: Timestamp,
    takes: Duration,
    fails: bool,
    /// What it was created from.
    body: Value,
    pub(super) price: u64,
    /// Where its documents say the price.
    spoken: JobPrice,
    refund: Refund,
}

/// What a job has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Pending,
    Generating,
    Completed,
    Failed,
}

impl Job {
    /// The analysis that was there before the simulator: always completed, and paid for.
    pub(super) fn demo() -> Self {
        let body = json!({
            "title": "Launch film", "video_url": "https://videos.example/launch.mp4", "brand": "Example", "product": "Launch",
            "primary_intent": "Persuasive", "goal": "Find the moment that loses viewers.",
        });
        Self {
            id: DEMO_ANALYSIS.to_owned(),
            kind: Kind::VideoAnalysis,
            created: Timestamp::UNIX_EPOCH,
            takes: Duration::ZERO,
            fails: false,
            body,
            price: 0,
            spoken: JobPrice::Silent,
            refund: Refund::No,
        }
    }

    /// Starts a job by a body that was checked.
    pub(super) fn new(
        id: String,
        kind: Kind,
        body: &Value,
        now: Timestamp,
        usual: Duration,
        quirks: &Quirks,
    ) -> Self {
        let mut body = body.clone();
        body.as_object_mut().map(|members| members.remove("sim"));
        let price = quirks.job_cost.unwrap_or_else(|| price::spread(&kind.costs(), body.to_string().len()));
        Self {
            id,
            kind,
            created: now,
            takes: quirks.job_takes.unwrap_or(usual),
            fails: fails(&body),
            body,
            price,
            spoken: quirks.job_price,
            refund: quirks.refund,
        }
    }

    fn elapsed(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.created)).unwrap_or_default()
    }

    fn ends(&self) -> Timestamp {
        self.created.saturating_add(self.takes).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn status(&self, now: Timestamp) -> Status {
        match self.elapsed(now) {
            elapsed if elapsed >= self.takes && self.fails => Status::Failed,
            elapsed if elapsed >= self.takes => Status::Completed,
            elapsed if elapsed >= self.takes / 10 => Status::Generating,
            _ => Status::Pending,
        }
    }

    pub(super) fn is_unfinished(&self, now: Timestamp) -> bool {
        matches!(self.status(now), Status::Pending | Status::Generating)
    }

    /// When it is charged, and how much, if it is.
    pub(super) fn bill(&self, charging: Charging) -> Option<(Timestamp, u64)> {
        let given_back = self.fails && self.refund == Refund::Yes;
        let due = if charging == Charging::Before { self.created } else { self.ends() };
        (!given_back && self.price > 0).then_some((due, self.price))
    }

    /// Its document, which is also the answer to its create.
    pub(super) fn json(&self, now: Timestamp, case: StatusCase) -> Value {
        let (kind, status) = (self.kind, self.status(now));
        let mut document = json!({
            "id": self.id,
            "object": kind.object(),
            "status": status.text(case),
            "created_at": self.time(self.created),
            "updated_at": self.time(now),
            "error": (status == Status::Failed).then_some("simulated failure"),
        });
        if kind == Kind::VideoAnalysis {
            document["progress"] = json!({"total_chunks": CHUNKS, "processed_chunks": self.chunks(now)});
        }
        if let Some(document) = document.as_object_mut() {
            document.extend(kind.repeated(&self.body));
        }
        if status == Status::Completed {
            let (name, outcome) = kind.outcome(CHUNKS, &self.time(self.ends()));
            document[name] = outcome;
        }
        self.say_price(&mut document, status);
        document
    }

    /// A job that failed and is given back says that it cost nothing.
    fn say_price(&self, document: &mut Value, status: Status) {
        let ended = matches!(status, Status::Completed | Status::Failed);
        let price = if status == Status::Failed && self.refund == Refund::Yes { 0 } else { self.price };
        match self.spoken {
            JobPrice::Create => document["usage"] = json!({ "credits_used": price }),
            JobPrice::Get if ended => document["usage"] = json!({ "credits_used": price }),
            JobPrice::Charged if ended => document["credits_charged"] = json!(price),
            JobPrice::Top if ended => document["credits_used"] = json!(price),
            _ => {}
        }
    }

    fn chunks(&self, now: Timestamp) -> u64 {
        if self.takes.is_zero() {
            return CHUNKS;
        }
        let done = self.elapsed(now).as_millis() * u128::from(CHUNKS) / self.takes.as_millis().max(1);
        u64::try_from(done).unwrap_or(CHUNKS).min(CHUNKS)
    }

    /// Unix seconds in analyses, ISO 8601 in everything newer.
    fn time(&self, time: Timestamp) -> Value {
        match self.kind {
            Kind::VideoAnalysis => json!(time.as_second()),
            Kind::FocusGroup | Kind::BrandVoice => json!(format!("{time:.3}")),
        }
    }
}

/// Whether a job with this body fails. Invented: a way to get one that does.
fn fails(body: &Value) -> bool {
    let names = ["title", "name", "label"].iter().filter_map(|name| body.get(name)?.as_str());
    names.into_iter().any(|name| name.contains("fail"))
}

impl Status {
    pub(super) fn text(self, case: StatusCase) -> String {
        let word = match self {
            Self::Pending => "pending",
            Self::Generating => "generating",
            Self::Completed => "completed",
            Self::Failed => "failed",
        };
        match case {
            StatusCase::Lower => word.to_owned(),
            StatusCase::Upper => word.to_uppercase(),
            StatusCase::Unknown => "transmogrifying".to_owned(),
        }
    }
}
