//! The kinds of jobs: what each takes, costs and brings. Limits, ranges and required fields are documented;
//! results are invented.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::errors::ApiError;

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

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    VideoAnalysis,
    FocusGroup,
    BrandVoice,
}

impl Kind {
    /// Where it is created.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::VideoAnalysis => "/video-analyses",
            Self::FocusGroup => "/focus-groups",
            Self::BrandVoice => "/brand-voices",
        }
    }

    pub(super) fn object(self) -> &'static str {
        match self {
            Self::VideoAnalysis => "video_analysis",
            Self::FocusGroup => "focus_group",
            Self::BrandVoice => "brand_voice",
        }
    }

    pub(super) fn id_prefix(self) -> &'static str {
        match self {
            Self::VideoAnalysis => "cvideo",
            Self::FocusGroup => "cfocus",
            Self::BrandVoice => "cvoice",
        }
    }

    /// How many may be unfinished at the same time (rate limit guide).
    pub(super) fn cap(self) -> Option<usize> {
        match self {
            Self::VideoAnalysis => Some(3),
            Self::FocusGroup => Some(5),
            Self::BrandVoice => None,
        }
    }

    /// What one costs (credit guide).
    pub(super) fn costs(self) -> RangeInclusive<u64> {
        match self {
            Self::VideoAnalysis => 100..=500,
            Self::FocusGroup => 50..=200,
            Self::BrandVoice => 50..=50,
        }
    }

    /// Checks a create's body by the reference. The guides' other shape of an analysis, with `asset_id`,
    /// passes too: the pages disagree. Of a focus group nothing is known.
    pub(super) fn check(self, body: &Value) -> Result<(), ApiError> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let lengths: &[(&str, usize, usize)] = match self {
            Self::VideoAnalysis => {
                &[("title", 3, 100), ("brand", 2, 100), ("product", 2, 100), ("goal", 10, 500)]
            }
            Self::FocusGroup => &[],
            Self::BrandVoice => &[("label", 2, usize::MAX), ("usage_context", 10, usize::MAX)],
        };
        if self == Self::VideoAnalysis && text("video_url").is_none() && text("asset_id").is_none() {
            return Err(ApiError::invalid("missing_field", "video_url", "video_url is required."));
        }
        for (name, least, most) in lengths {
            let value = text(name).ok_or_else(|| ApiError::missing(name))?;
            if !(least..=most).contains(&&value.chars().count()) {
                return Err(ApiError::invalid("invalid_field", name, "The length is out of range."));
            }
        }
        if self == Self::VideoAnalysis
            && !text("primary_intent").is_some_and(|intent| INTENTS.contains(&intent))
        {
            return Err(ApiError::invalid("invalid_field", "primary_intent", "Not one of the intents."));
        }
        Ok(())
    }

    /// The members of a create's body that the job's document repeats.
    pub(super) fn repeated(self, body: &Value) -> Map<String, Value> {
        let names: &[&str] = match self {
            Self::VideoAnalysis => &[
                "video_url",
                "asset_id",
                "workspace_id",
                "title",
                "brand",
                "product",
                "primary_intent",
                "secondary_intent",
                "tertiary_intent",
                "goal",
                "chunk_duration",
                "frames_per_chunk",
            ],
            Self::FocusGroup => &["workspace_id", "title", "name"],
            Self::BrandVoice => &["workspace_id", "label", "usage_context"],
        };
        let members = body.as_object().into_iter().flatten();
        members
            .filter(|(name, _)| names.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// What it has come to when it is completed: the name of a member, and the member.
    pub(super) fn outcome(self, chunks: u64, completed_at: &Value) -> (&'static str, Value) {
        match self {
            Self::VideoAnalysis => (
                "results",
                json!({
                    "total_chunks": chunks,
                    "completed_at": completed_at,
                    "metrics": {"emotional": {"valence": 0.4}, "ad_effectiveness": {"score": 71, "explanation": "simulated"}},
                    "aggregated_transcript": "A simulated transcript.",
                }),
            ),
            Self::FocusGroup => (
                "results",
                json!({
                    "completed_at": completed_at,
                    "respondents": 25,
                    "themes": [{"theme": "price", "mentions": 11}, {"theme": "packaging", "mentions": 6}],
                    "summary": "A simulated group would buy it, at a lower price.",
                }),
            ),
            Self::BrandVoice => ("profile", json!({"tone": ["warm", "brief"], "avoid": ["superlatives"]})),
        }
    }
}
