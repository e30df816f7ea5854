//! How a caller stands, as it is told on every answer: its rate, its credits, and how long it has waited.

use std::sync::Arc;

use http::HeaderMap;

use super::Exchange;
use super::draft::Draft;
use crate::books::keeper::Keeper;
use crate::credits::Credits;
use crate::credits::budget::Budgets;
use crate::head::fields;
use crate::limit::rate::Standing;

impl Exchange {
    /// Where its credits come from is known.
    pub fn spends(&mut self, desk: &Arc<Keeper>, budgets: &Budgets) {
        self.draft_mut().spends = Some((Arc::clone(desk), budgets.clone()));
    }

    /// The team's own rate was asked, or looked at, and stands like this.
    pub fn rate(&mut self, rate: Standing) {
        self.draft_mut().rate = Some(rate);
    }

    /// Tells the caller how it stands: its rate, its credits, and how long it has waited.
    pub(crate) fn tell_standing(&self, headers: &mut HeaderMap) {
        let draft = self.draft();
        if let Some(rate) = draft.rate {
            fields::tell_rate(headers, rate, self.answered_at());
        }
        fields::tell_credits_left(headers, self.credits_left());
        fields::tell_queued(headers, draft.queued);
    }

    /// What the tightest budget has left, this call's hold counted if it has one; `None` where no budget binds.
    fn credits_left(&self) -> Option<Credits> {
        let Draft { hold, spends, .. } = self.draft();
        match (hold, spends) {
            (Some(hold), _) => hold.left(),
            (None, spends) => spends.as_ref().and_then(|(desk, budgets)| desk.left(budgets)),
        }
    }
}
