//! `GET /usage`: the one place where a balance can be read.

use serde_json::{Value, json};

use crate::Simulator;

impl Simulator {
    /// The document, after dashboard users have spent what they do.
    pub(super) fn usage(&self) -> Value {
        let now = self.now();
        let mut state = self.state();
        let minutes = now.duration_since(state.started).as_mins().max(0);
        let drifted = state.settings.dashboard_per_minute * u64::try_from(minutes).unwrap_or(0);
        let new = drifted.saturating_sub(state.pool.dashboard);
        state.pool.dashboard += new;
        state.books.recharged += state.pool.spend(new);
        let (pool, total) = (&state.pool, state.books.total_charged());
        let month = now.to_zoned(jiff::tz::TimeZone::UTC);
        let start =
            month.first_of_month().and_then(|day| day.start_of_day()).map_or(now, |start| start.timestamp());
        let (start, before) = state.billed_since.unwrap_or((start, 0));
        let api = total - before + state.settings.spent;
        let end = month.last_of_month().and_then(|day| day.end_of_day()).map_or(now, |end| end.timestamp());
        json!({
            "object": "usage",
            "billing_period": {"start": format!("{start:.3}"), "end": format!("{end:.3}")},
            "credits": {
                "used": pool.used, "included": pool.included, "remaining": pool.remaining(),
                "percentage_used": (pool.used * 100).checked_div(pool.included).unwrap_or(100),
            },
            "transcription": {"minutes_used": 0, "minutes_included": 500, "minutes_remaining": 500, "percentage_used": 0},
            "storage": {"gb_used": 0, "gb_included": 50, "gb_remaining": 50, "percentage_used": 0},
            "api_requests": {"total_requests": state.books.received.len(), "credits_used": api, "error_count": 0},
            "rate_limit": {"requests_per_minute": state.settings.requests_per_minute},
            "auto_recharge": {
                "enabled": pool.recharge.is_some(),
                "threshold": pool.recharge.map(|recharge| recharge.threshold),
                "credits_to_add": pool.recharge.map(|recharge| recharge.amount),
            },
            "limits": {"budget_alert": null, "usage_limit": state.settings.workspace_budget},
        })
    }
}
