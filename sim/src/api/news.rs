//! Stories of the day, and what a persona makes of them. The costs, their place, the names of the tokens and
//! the bounds of a request are documented; the stories and the other members are invented.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::ask::Ask;
use super::said::Said;
use crate::call::Call;
use crate::errors::ApiError;
use crate::reply::words;
use crate::{Simulator, price};

/// What an analysis costs (credit guide).
const ANALYSIS_COSTS: RangeInclusive<u64> = 5..=20;
/// What an answer about a story costs. Marketing only.
const CHAT_COSTS: RangeInclusive<u64> = 1..=5;
/// Characters of a message about a story.
const MAX_MESSAGE: usize = 2000;
/// Earlier messages about it.
const MAX_HISTORY: usize = 20;

fn stories() -> [Value; 3] {
    let story = |n: usize, title: &str| {
        json!({
            "id": format!("cstory{n:019}"), "object": "news.story", "title": title,
            "source": "The Example", "url": format!("https://news.example/{n}"),
            "published_at": "2030-01-01T08:00:00.000Z",
        })
    };
    [
        story(1, "Sparkling water outsells still"),
        story(2, "A quiet year for loud packaging"),
        story(3, "Viewers skip after seven seconds"),
    ]
}

fn find(id: &str) -> Result<Value, ApiError> {
    stories().into_iter().find(|story| story["id"] == id).ok_or_else(ApiError::not_found)
}

fn list(stories: &[Value]) -> Said {
    Said::Free(200, json!({"object": "list", "data": stories, "has_more": false, "next_cursor": null}))
}

pub(super) fn trending() -> Said {
    list(&stories())
}

pub(super) fn personalized(ask: &Ask<'_>) -> Result<Said, ApiError> {
    ask.parameter("persona_ids")
        .filter(|personas| !personas.is_empty())
        .ok_or_else(|| ApiError::missing("persona_ids"))?;
    let size = ask.number("size", 50);
    if !(1..=50).contains(&size) {
        return Err(ApiError::not_valid("size"));
    }
    let stories = stories();
    Ok(list(&stories[..stories.len().min(size)]))
}

pub(super) fn story(ask: &Ask<'_>) -> Result<Said, ApiError> {
    Ok(Said::Free(200, find(ask.id)?))
}

impl Simulator {
    pub(super) fn analyze_story(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        self.can_pay()?;
        let story = find(ask.id)?;
        let credits = price::growing(&ANALYSIS_COSTS, ask.length(), 32);
        let members = json!({
            "object": "news.analysis", "story_id": story["id"], "persona_id": ask.member("persona_id"),
            "analysis": words(ask.quirks).concat(),
        });
        Ok(self.about_story(members, credits, ask, call))
    }

    pub(super) fn chat_about_story(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        self.can_pay()?;
        let story = find(ask.id)?;
        let message = ask.text("message")?;
        if message.chars().count() > MAX_MESSAGE {
            return Err(ApiError::invalid("invalid_field", "message", "The length is out of range."));
        }
        if let Some(history) = ask.member("conversation_history")
            && history.as_array().is_none_or(|history| history.len() > MAX_HISTORY)
        {
            return Err(ApiError::not_valid("conversation_history"));
        }
        let credits = price::growing(&CHAT_COSTS, ask.length(), 256);
        let members = json!({
            "object": "news.chat", "story_id": story["id"],
            "message": {"role": "assistant", "content": words(ask.quirks).concat()},
        });
        Ok(self.about_story(members, credits, ask, call))
    }

    fn about_story(&self, members: Value, usual: u64, ask: &Ask<'_>, call: &mut Call) -> Said {
        let quirks = ask.quirks;
        let id = self.state().next_id("cnews");
        let credits = quirks.job_cost.unwrap_or(usual);
        let mut document = json!({ "id": id });
        let tokens = json!({
            "prompt_tokens": ask.length() / 4 + 1,
            "completion_tokens": price::tokens(&members.to_string()),
        });
        if let (Some(document), Value::Object(members)) = (document.as_object_mut(), members) {
            document.extend(members);
        }
        document["created_at"] = json!(format!("{:.3}", self.now()));
        if let Some(usage) = price::usage(tokens, credits, quirks.usage) {
            document["usage"] = usage;
        }
        call.owes(credits, quirks, false);
        call.answered(200, Some(&id));
        Said::Paid(200, document.to_string().into())
    }
}
