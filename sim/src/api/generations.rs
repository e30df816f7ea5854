//! Content from templates. The cost, its place and the names of the tokens are documented; the members of
//! the documents and the whole stream are invented.

use std::ops::RangeInclusive;

use serde_json::json;

use super::ask::Ask;
use super::list;
use super::said::Said;
use crate::call::Call;
use crate::errors::ApiError;
use crate::reply::words;
use crate::{Simulator, price, sse};

/// What one costs (credit guide).
const COSTS: RangeInclusive<u64> = 10..=30;

/// The templates there are.
pub(super) fn apps(ask: &Ask<'_>) -> Said {
    let app = |id: &str, name: &str| json!({"id": id, "object": "generation_app", "name": name});
    let apps =
        [app("capp000000000000000000001", "Blog post"), app("capp000000000000000000002", "Product page")];
    Said::Free(200, list::by_cursor(ask, &apps))
}

impl Simulator {
    pub(super) fn generations(&self, ask: &Ask<'_>) -> Said {
        Said::Free(200, list::by_cursor(ask, &self.state().generations))
    }

    pub(super) fn generate(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        let quirks = ask.quirks;
        self.can_pay()?;
        let app = ask.text("app_id")?;
        let input = ask.required("input_data")?.to_string();
        let stream = ask.stream()?;
        let credits = quirks.job_cost.unwrap_or_else(|| price::growing(&COSTS, input.len(), 32));
        let pieces = words(quirks);
        let content = pieces.concat();

        let created = format!("{:.3}", self.now());
        let mut state = self.state();
        let id = state.next_id("cgen");
        let mut document = json!({
            "id": id, "object": "generation", "app_id": app, "title": ask.member("title"), "status": "completed",
            "content": content, "created_at": created,
        });
        state.generations.push(document.clone());
        drop(state);

        call.owes(credits, quirks, stream && sse::breaks_off(quirks));
        call.answered(200, Some(&id));
        let tokens =
            json!({"prompt_tokens": price::tokens(&input), "completion_tokens": price::tokens(&content)});
        let usage = price::usage(tokens, credits, quirks.usage);
        if stream {
            let end = json!({ "generation_id": id });
            return Ok(Said::Stream(sse::opaque(&pieces, &end, usage.as_ref(), quirks)));
        }
        if let Some(usage) = usage {
            document["usage"] = usage;
        }
        Ok(Said::Paid(200, document.to_string().into()))
    }
}
