//! How things stand, as far as operators have to know: from memory alone.

use std::sync::Arc;

use jiff::Timestamp;

use super::condition::{Condition, Kind};
use crate::books::open::Books;
use crate::config::Expiry;
use crate::credits::budget::{Budgets, Standing, Whose};
use crate::credits::period::written;
use crate::desk::State;
use crate::live::Snapshot;
use crate::usage::Bill;

/// The least share of a budget that is told of, in percent.
const LEAST: u64 = 75;

/// All that goes on at this moment.
pub(super) fn conditions(snapshot: &Snapshot, books: &Books, bill: &Bill, now: Timestamp) -> Vec<Condition> {
    let mut all = budgets(snapshot, books);
    all.extend(upstream(books.desk.upstream()));
    all.extend(pool(snapshot, books, bill, now));
    all.extend(bill.latest().and_then(|reading| {
        let drift = reading.comparison.drift();
        (!reading.comparison.agrees()).then(|| Condition {
            kind: Kind::BooksDisagree,
            subject: "organisation".into(),
            level: 1,
            is_critical: false,
            message: format!(
                "Mavera's bill and the ledger differ by {drift} credits that nothing in doubt explains. `mavera-gateway credits \
                 reconcile` tells more."
            ),
        })
    }));
    all.extend(books.counts.is_closed().then(|| Condition {
        kind: Kind::LedgerClosed,
        subject: "gateway".into(),
        level: 1,
        is_critical: true,
        message: "The ledger cannot be written, so every call that costs is refused. The gateway's log says why.".into(),
    }));
    all.extend(snapshot.config.expiring_keys(now).map(|(team, key, expiry)| {
        let at = key.expires.map(|at| format!("{at:.0}")).unwrap_or_default();
        let (level, message) = match expiry {
            Expiry::Soon => (1, format!("Key {} of team {team} expires at {at}.", key.id)),
            Expiry::Past => {
                (2, format!("Key {} of team {team} has expired at {at}, and is refused.", key.id))
            }
        };
        Condition {
            kind: Kind::CallerKeyExpires,
            subject: key.id.clone(),
            level,
            is_critical: level > 1,
            message,
        }
    }));
    all
}

/// Budgets that are spent, or nearly.
fn budgets(snapshot: &Snapshot, books: &Books) -> Vec<Condition> {
    let config = &snapshot.config;
    let teams = snapshot.directory.teams().iter();
    let teams = teams.map(|team| (Whose::Team(Arc::clone(&team.name)), team.budget));
    let all = [(Whose::Organisation, config.credits.budget)].into_iter().chain(teams);
    let all: Vec<_> = all.filter_map(|(whose, budget)| Some((whose, budget?))).collect();
    let standings = books.desk.standings(&Budgets(all.into()));
    let told = standings.into_iter().filter_map(|Standing { whose, budget, tally, resets }| {
        let percent = tally.threshold();
        let subject = match whose {
            Whose::Team(name) => format!("team {name}"),
            _ => "organisation".to_owned(),
        };
        let message = format!(
            "{percent} % of the budget of {subject} are spent: {} of {} credits of this {}. It begins anew at {}.",
            tally.used,
            tally.whole,
            budget.period.noun(),
            written(resets, &config.credits.zone)
        );
        let is_critical = percent >= 100;
        (percent >= LEAST).then_some(Condition {
            kind: Kind::BudgetThreshold,
            subject,
            level: percent,
            is_critical,
            message,
        })
    });
    told.collect()
}

fn upstream(state: State) -> Option<Condition> {
    let (kind, message) = match state {
        State::Serving | State::WindowClosed => return None,
        State::KeyRefused => (
            Kind::KeyRefused,
            "Mavera refuses the organisation's key, so every call is refused. Renew it at its source, `upstream.api_key`; it is \
             picked up at once.",
        ),
        State::PoolEmpty => {
            (Kind::UpstreamState, "The organisation's pool at Mavera is empty: calls that cost are refused.")
        }
        State::WorkspaceLimit => (
            Kind::UpstreamState,
            "A usage limit that the organisation has set at Mavera is reached: raise it in the dashboard.",
        ),
        State::SubscriptionLapsed => (
            Kind::UpstreamState,
            "The organisation's subscription at Mavera has lapsed: every call is refused.",
        ),
        State::Unreachable => {
            (Kind::UpstreamState, "Mavera cannot be reached: calls are refused until it can be.")
        }
        State::Slow => (Kind::UpstreamState, "Mavera gives no answer within `upstream.first_byte_timeout`."),
    };
    Some(Condition {
        kind,
        subject: state.as_str().to_owned(),
        level: 1,
        is_critical: state != State::Slow,
        message: message.to_owned(),
    })
}

/// The pool, as Mavera's own account of it has it.
fn pool(snapshot: &Snapshot, books: &Books, bill: &Bill, now: Timestamp) -> Option<Condition> {
    let theirs = bill.latest()?.comparison.theirs;
    if theirs.recharges {
        return None;
    }
    let runs_out = books.desk.pace(&Whose::Organisation)?.runs_out(theirs.remaining, now, theirs.end)?;
    let zone = &snapshot.config.credits.zone;
    Some(Condition {
        kind: Kind::PoolRunsOut,
        subject: "organisation".into(),
        level: 1,
        is_critical: false,
        message: format!(
            "At the pace of the last days the {} credits that are left of the organisation's pool are spent at {}, before it is \
             filled again at {}.",
            theirs.remaining,
            written(runs_out, zone),
            written(theirs.end, zone)
        ),
    })
}
