//! What a caller may ask for: its team's routes, and the things that its team may see.

use crate::books::owners::Owners;
use crate::config::Analyses;
use crate::live::directory::Caller;
use crate::refuse::Refusal;
use crate::route::{Ids, Target, Thing};

/// Whether the caller's team may use this route, and ask about this analysis.
///
/// # Errors
/// That it may not.
pub(crate) fn may_ask(caller: &Caller, target: &Target, owners: &Owners) -> Result<(), Refusal> {
    let team = || caller.team.name.to_string();
    if !caller.team.routes.allow(target.route) {
        return Err(Refusal::RouteNotAllowed { team: team(), route: target.route.label() });
    }
    match (target.route.row().ids, &target.id) {
        (Ids::One(thing), Some(id)) => may_name(caller, owners, thing, id),
        (Ids::All(things), _) if !matches!(caller.team.analyses, Analyses::All) => {
            Err(Refusal::AnalysisNotAllowed { team: team(), what: format!("list all {}", things.plural()) })
        }
        _ => Ok(()),
    }
}

/// Whether the caller's team may ask about this: it may see it, or has made it.
///
/// # Errors
/// That it may not.
pub(crate) fn may_name(caller: &Caller, owners: &Owners, thing: Thing, id: &str) -> Result<(), Refusal> {
    let analyses = &caller.team.analyses;
    let may = match thing {
        Thing::Analysis => analyses.allow(id),
        _ => matches!(analyses, Analyses::All),
    };
    if may || owners.belongs(thing, id, &caller.team.name) {
        return Ok(());
    }
    // What stands in a body may be anything.
    let is_plain = id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
    let what = format!("ask about {} {}", thing.name(), if is_plain { id } else { "of that id" });
    Err(Refusal::AnalysisNotAllowed { team: caller.team.name.to_string(), what })
}
