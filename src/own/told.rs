//! What several answers have in common: how a turn and a budget stand.

use serde_json::{Value, json};

use crate::books::open::Books;
use crate::credits::budget::{Standing, Whose};
use crate::desk::Ask;
use crate::refuse::Refusal;

/// Where a chat would stand in the order of turns, and why it would be refused there.
pub(super) fn queue(books: &Books, ask: &Ask) -> (Value, Option<Refusal>) {
    let (position, at_least, refusal) = books.desk.look(ask);
    let (waiting, _) = books.desk.waiting(&ask.team);
    let queue = json!({
        "waiting": waiting,
        "position": position,
        "at_least_seconds": at_least.as_secs_f64(),
        "waits_seconds": ask.patience.turn.as_secs_f64(),
    });
    (queue, refusal)
}

/// How a budget stands.
pub(super) fn budget(standing: &Standing) -> Value {
    json!({
        "of": match &standing.whose {
            Whose::Organisation => "organisation",
            Whose::Team(_) => "team",
            Whose::Key(_) => "key",
            Whose::Route { label, .. } => label,
        },
        "period": standing.budget.period,
        "credits": standing.budget.credits,
        "granted": standing.tally.granted,
        "used": standing.tally.used,
        "held": standing.tally.held,
        "left": standing.tally.left(),
        "resets": format!("{:.0}", standing.resets),
    })
}
