//! Personas: one that is there, and those that are made for 300 credits each.

use serde_json::{Value, json};

use super::ask::Ask;
use super::list;
use super::said::Said;
use crate::call::Call;
use crate::errors::ApiError;
use crate::{Simulator, price};

/// What a persona costs (credit guide).
const COST: u64 = 300;
/// The pipelines of the reference.
const PIPELINES: [&str; 3] = ["north_star", "intermediate", "advanced"];

impl Simulator {
    pub(super) fn personas(&self, ask: &Ask<'_>) -> Said {
        Said::Free(200, list::by_cursor(ask, &self.state().personas))
    }

    /// Its cost stands in `credits_charged`, and not in `usage`.
    pub(super) fn create_persona(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        self.can_pay()?;
        let pipeline = ask.member("pipeline_type");
        if pipeline.is_some_and(|pipeline| !PIPELINES.iter().any(|known| pipeline == known)) {
            return Err(ApiError::not_valid("pipeline_type"));
        }
        let name = ask.member("name").and_then(Value::as_str).unwrap_or("Persona");
        let created = self.now().as_second();
        let mut state = self.state();
        let id = state.next_id("cpersona");
        let mut document = json!({
            "id": id, "object": "persona", "name": name, "pipeline_type": pipeline, "created_at": created,
        });
        state.personas.push(document.clone());
        drop(state);
        let credits = ask.quirks.job_cost.unwrap_or(COST);
        call.owes(credits, ask.quirks, false);
        call.answered(201, Some(&id));
        if let Some(credits) = price::said(credits, ask.quirks.usage) {
            document["credits_charged"] = json!(credits);
        }
        Ok(Said::Paid(201, document.to_string().into()))
    }
}
