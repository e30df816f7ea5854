//! What a call has come to, for whoever makes it again: said by its ending, and the same whether that is known from memory
//! or read from the ledger after a restart.

use serde::{Deserialize, Serialize};

use super::facts::{Basis, Ending};
use crate::route::Route;

/// What a call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Nothing was done: it can be made again.
    Free,
    /// It was answered, and paid for.
    Answered,
    /// It may have been done and paid for, and nobody knows.
    Unknown,
}

impl Fate {
    /// By how it ended. A call of a route that `requires_key` is never made again once the upstream has answered it, with
    /// an error of its own too.
    #[must_use]
    pub fn of(ending: &Ending, requires_key: bool) -> Self {
        match ending {
            Ending::Voided { .. } => Self::Free,
            Ending::Settled { basis: Basis::Final, .. } => Self::Answered,
            Ending::Settled { reason, .. } => Self::of_estimate(reason, requires_key),
        }
    }

    /// By how it is booked: the number of its kind, none where it has not ended; why; and its route.
    pub(super) fn of_booked(kind: Option<i64>, reason: &str, route: &str) -> Self {
        match kind {
            Some(0) => Self::Free,
            Some(1 | 3) => Self::Answered,
            _ => {
                let requires_key = Route::named(route).is_some_and(|route| route.row().requires_key);
                Self::of_estimate(reason, requires_key)
            }
        }
    }

    /// By why it was booked at its reserve.
    #[must_use]
    pub fn of_estimate(reason: &str, requires_key: bool) -> Self {
        match reason {
            "no_usage" | "failed_in_stream" | "job" | "under_way" => Self::Answered,
            "upstream_error" if requires_key => Self::Answered,
            "upstream_error" => Self::Free,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credits::Credits;
    use crate::ledger::facts::NEVER_SENT;

    #[test]
    fn what_may_have_been_paid_for_is_never_free() {
        let estimated =
            |reason| Ending::Settled { credits: Credits::whole(5), basis: Basis::Estimated, reason };
        let settled = Ending::Settled { credits: Credits::whole(3), basis: Basis::Final, reason: "" };
        for (ending, plain, costly) in [
            (Ending::Voided { reason: NEVER_SENT }, Fate::Free, Fate::Free),
            (settled, Fate::Answered, Fate::Answered),
            (estimated("no_usage"), Fate::Answered, Fate::Answered),
            (estimated("failed_in_stream"), Fate::Answered, Fate::Answered),
            (estimated("upstream_error"), Fate::Free, Fate::Answered),
            (estimated("job"), Fate::Answered, Fate::Answered),
            (estimated("under_way"), Fate::Answered, Fate::Answered),
            (estimated("truncated"), Fate::Unknown, Fate::Unknown),
            (estimated("no_answer"), Fate::Unknown, Fate::Unknown),
            (estimated("dropped"), Fate::Unknown, Fate::Unknown),
            (estimated("crash"), Fate::Unknown, Fate::Unknown),
        ] {
            assert_eq!((Fate::of(&ending, false), Fate::of(&ending, true)), (plain, costly), "{ending:?}");
        }
    }
}
