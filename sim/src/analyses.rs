//! Simulated video analyses: created pending, completed or failed as their time passes.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::errors::ApiError;
use super::quirks::StatusCase;

/// Analyses that may be unfinished at the same time (documented, rate limit guide).
pub(super) const MAX_UNFINISHED: usize = 3;
/// Chunks an analysis is made of here; progress counts them.
const CHUNKS: u64 = 10;
/// Intents of the reference.
const INTENTS: [&str; 8] = [
    "Informative",
    "Persuasive",
    "Directive",
    "Expressive",
    "Transactional",
    "Appreciative",
    "Inspirational",
    "Entertainment",
];

/// One analysis.
#[derive(Clone, Debug)]
pub(super) struct Analysis {
    pub(super) id: String,
    created: Timestamp,
    takes: Duration,
    fails: bool,
    input: Value,
}

/// What an analysis has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Pending,
    Generating,
    Completed,
    Failed,
}

impl Analysis {
    /// An analysis that was there before the simulator: always completed.
    pub(super) fn completed(id: &str, title: &str) -> Self {
        let input = json!({
            "title": title, "video_url": "https://videos.example/launch.mp4", "brand": "Example", "product": "Launch",
            "primary_intent": "Persuasive", "goal": "Find the moment that loses viewers.",
        });
        Self { id: id.to_owned(), created: Timestamp::UNIX_EPOCH, takes: Duration::ZERO, fails: false, input }
    }

    /// Checks a create body by the reference, and starts the analysis. The guides' other shape, with
    /// `asset_id`, passes too: the pages disagree.
    pub(super) fn create(
        index: usize,
        body: &Value,
        now: Timestamp,
        takes: Duration,
    ) -> Result<Self, ApiError> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        if text("video_url").is_none() && text("asset_id").is_none() {
            return Err(ApiError::invalid("missing_field", "video_url", "video_url is required."));
        }
        for (name, least, most) in
            [("title", 3, 100), ("brand", 2, 100), ("product", 2, 100), ("goal", 10, 500)]
        {
            let Some(value) = text(name) else {
                return Err(ApiError::invalid("missing_field", name, "A required field is missing."));
            };
            if !(least..=most).contains(&value.chars().count()) {
                return Err(ApiError::invalid("invalid_field", name, "The length is out of range."));
            }
        }
        if !text("primary_intent").is_some_and(|intent| INTENTS.contains(&intent)) {
            return Err(ApiError::invalid("invalid_field", "primary_intent", "Not one of the intents."));
        }
        Ok(Self {
            id: format!("c{:024x}", 0x51_5151_0000_u64 + index as u64),
            created: now,
            takes,
            // Invented: a way to get a failed one.
            fails: text("title").is_some_and(|title| title.contains("fail")),
            input: body.clone(),
        })
    }

    fn elapsed(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.created)).unwrap_or_default()
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

    pub(super) fn json(&self, now: Timestamp, case: StatusCase) -> Value {
        let status = self.status(now);
        let done = if self.takes.is_zero() {
            CHUNKS
        } else {
            let done = self.elapsed(now).as_millis() * u128::from(CHUNKS) / self.takes.as_millis().max(1);
            u64::try_from(done).unwrap_or(CHUNKS)
        };
        let mut document = json!({
            "id": self.id,
            "object": "video_analysis",
            "status": status.text(case),
            "created_at": self.created.as_second(),
            "updated_at": now.as_second(),
            "error": (status == Status::Failed).then_some("simulated failure"),
            "progress": {"total_chunks": CHUNKS, "processed_chunks": done.min(CHUNKS)},
        });
        if let (Some(document), Some(input)) = (document.as_object_mut(), self.input.as_object()) {
            document.extend(input.clone());
        }
        if status == Status::Completed {
            document["results"] = json!({
                "total_chunks": CHUNKS,
                "completed_at": self.created.saturating_add(self.takes).unwrap_or(now).as_second(),
                "metrics": {"emotional": {"valence": 0.4}, "ad_effectiveness": {"score": 71, "explanation": "simulated"}},
                "aggregated_transcript": "A simulated transcript.",
            });
        }
        document
    }
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
