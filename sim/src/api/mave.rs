//! Mave, the research agent. The path, what it costs, the cap and the members of a request are documented.
//! The members of an answer beyond `usage.credits_used`, and the whole stream, are invented.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::ask::Ask;
use super::said::Said;
use super::{endpoints, list};
use crate::call::Call;
use crate::errors::ApiError;
use crate::reply::words;
use crate::threads::Thread;
use crate::{Simulator, price, sse};

const PATH: &str = "/mave/chat";
/// Calls that may be in progress at the same time (rate limit guide).
const PLACES: usize = 10;
/// What an answer costs: up to 50 by the credits guide, up to 75 by Mave's.
const COSTS: RangeInclusive<u64> = 10..=75;

/// Takes a place for a call of Mave when it arrives; it is in progress until its answer's body is over.
pub(super) fn take_place(path: &str, call: &mut Call) {
    if endpoints::name(path) == PATH {
        call.take_place(PLACES);
    }
}

impl Simulator {
    pub(super) fn talk(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        let quirks = ask.quirks;
        self.can_pay()?;
        if !call.has_place() {
            self.state().books.was_over_cap(PATH);
            return Err(ApiError::over_cap(quirks));
        }
        let message = ask.text("message")?;
        let stream = ask.stream()?;
        let usual = || price::growing(&COSTS, message.chars().count(), 8);
        let credits = quirks.job_cost.unwrap_or_else(usual);
        let (pieces, now) = (words(quirks), self.now());
        let content = pieces.concat();

        let mut state = self.state();
        let index = if let Some(id) = ask.member("thread_id") {
            state.threads.iter().position(|thread| id == &thread.id).ok_or_else(ApiError::not_found)?
        } else {
            let thread = Thread::new(state.next_id("cthread"), now);
            state.threads.push(thread);
            state.threads.len() - 1
        };
        let id = state.next_id("cmsg");
        let answer = json!({"id": id, "role": "assistant", "content": content});
        let thread = &mut state.threads[index];
        thread.updated = now;
        thread.messages.extend([json!({"role": "user", "content": message}), answer.clone()]);
        let thread_id = thread.id.clone();
        drop(state);

        call.belongs_to(index);
        call.owes(credits, quirks, stream && sse::breaks_off(quirks));
        call.answered(200, Some(&id));
        let usage = price::usage(json!({}), credits, quirks.usage);
        if stream {
            let end = json!({"id": id, "thread_id": thread_id});
            return Ok(Said::Stream(sse::opaque(&pieces, &end, usage.as_ref(), quirks)));
        }
        let mut document = json!({
            "id": id, "object": "mave.message", "thread_id": thread_id, "message": answer, "content": content,
            "created_at": format!("{now:.3}"),
        });
        if let Some(usage) = usage {
            document["usage"] = usage;
        }
        Ok(Said::Paid(200, document.to_string().into()))
    }

    pub(super) fn threads(&self, ask: &Ask<'_>) -> Said {
        let threads: Vec<Value> = self.state().threads.iter().map(Thread::summary).collect();
        Said::Free(200, list::by_cursor(ask, &threads))
    }

    pub(super) fn thread(&self, ask: &Ask<'_>) -> Result<Said, ApiError> {
        let state = self.state();
        let thread = state.threads.iter().find(|thread| thread.id == ask.id);
        Ok(Said::Free(200, thread.ok_or_else(ApiError::not_found)?.json()))
    }
}
