//! What the demo's ledger begins with: this month and the one before, as five teams would have spent them. Made up, and the same
//! each time on the same day.

use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::teams::{DemoTeam, TEAMS};
use crate::config::Durability;
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::ledger::entry::Entry;
use crate::ledger::file::Store;
use crate::ledger::{
    Account, Aside, Basis, Command, Ending, LedgerError, NewEnding, NewHold, NewSaving, Upkeep,
};
use crate::meter::Usage;

/// What was spent in the running month, by team.
pub(super) type Spent = [u64; TEAMS.len()];

/// Numbers that look like chance, and are the same each time.
struct Dice(u64);

impl Dice {
    /// One below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// A call that was made up.
struct Made {
    at: Timestamp,
    day: Date,
    team: usize,
    account: Account,
    reserve: u64,
    costs: u64,
    takes: u64,
    end: (&'static str, Option<Basis>, &'static str),
}

/// Writes it to a ledger that is not there yet. `keys`: the ids of each team's keys.
pub(super) fn write(path: &Path, keys: &[[&str; 2]], now: Timestamp) -> Result<Spent, LedgerError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let month = today.first_of_month();
    let first = month.checked_sub(1.month()).unwrap_or(month);
    let mut dice = Dice(20_260_101);
    let mut made = Vec::new();
    let mut day = first;
    while day <= today {
        for (at, team) in TEAMS.iter().enumerate() {
            calls_of(&mut dice, (at, team), keys[at], day, &mut made);
        }
        day = day.tomorrow().unwrap_or(Date::MAX);
    }
    // Nothing of today that would be under way, or is to come.
    let before = now.saturating_sub(2.minutes()).unwrap_or(now);
    made.retain(|call| call.at < before);
    made.sort_by_key(|call| call.at);

    let mut spent = Spent::default();
    let mut commands = Vec::with_capacity(2 * made.len() + TEAMS.len());
    for (call, made) in (1..).zip(&made) {
        commands.extend(booked(call, made));
        if made.day >= month && made.end.1.is_some() {
            spent[made.team] += made.costs;
        }
    }
    for (team, keys) in TEAMS.iter().zip(keys).take(2) {
        let account = Account::of(team.name, keys[0], "video_chat");
        let saving = NewSaving { account, day: today, copies: 9, credits: Credits::whole(14) };
        commands.push(Command::Aside(Aside::Saved(saving)));
    }
    let mut store = Store::open(path, Durability::Os)?;
    store.write(&commands.iter().map(Entry::from).collect::<Vec<_>>(), None)?;
    let grant = Grant {
        team: TEAMS[3].name.to_owned(),
        credits: Credits::whole(20),
        from: today,
        until: month.last_of_month(),
        taken_back: false,
    };
    store.grant(&grant, "launch week, agreed with finance", now)?;
    Ok(spent)
}

/// What a team has asked on a day.
fn calls_of(
    dice: &mut Dice,
    (at, team): (usize, &DemoTeam),
    keys: [&str; 2],
    day: Date,
    made: &mut Vec<Made>,
) {
    let weekend = day.weekday().to_monday_zero_offset() >= 5;
    let usual = if weekend { team.a_day / 5 } else { team.a_day };
    for _ in 0..usual / 2 + dice.roll(usual + 2) {
        let (hour, minute, second) = (7 + dice.roll(12), dice.roll(60), dice.roll(60_000));
        let Ok(midnight) = day.to_zoned(TimeZone::UTC) else { continue };
        let millis = (hour * 60 + minute) * 60_000 + second;
        let at_moment = midnight.timestamp().as_millisecond() + i64::try_from(millis).unwrap_or(0);
        let (route, reserve, costs) = match (team.name, dice.roll(40)) {
            ("growth" | "design", 0) => ("video_analyses", 500, 100 + dice.roll(401)),
            ("research", 0..8) => ("mave_chat", 10, 3 + dice.roll(5)),
            ("support", 0..16) => ("responses", 5, 1 + dice.roll(3)),
            _ => ("video_chat", 5, 1 + dice.roll(3)),
        };
        let end = if dice.one_in(45) {
            ("truncated", Some(Basis::Estimated), "truncated")
        } else if dice.one_in(60) {
            ("failed", None, "refused_by_upstream")
        } else if dice.one_in(50) {
            ("client_gone", Some(Basis::Final), "")
        } else {
            ("completed", Some(Basis::Final), "")
        };
        made.push(Made {
            at: Timestamp::from_millisecond(at_moment).unwrap_or_default(),
            day,
            team: at,
            account: Account::of(team.name, keys[usize::from(dice.one_in(4))], route),
            reserve,
            costs: if end.1 == Some(Basis::Estimated) { reserve } else { costs },
            takes: 700 + dice.roll(9_000),
            end,
        });
    }
}

/// Its hold and its ending.
fn booked(call: i64, made: &Made) -> [Command; 2] {
    let Made { at, day, account, reserve, costs, takes, end: (outcome, basis, reason), .. } = made;
    let (reserve, takes) = (Credits::whole(*reserve), i64::try_from(*takes).unwrap_or(0));
    let hold = NewHold {
        call,
        account: account.clone(),
        request_id: format!("demo-{call:06}").into(),
        reserve,
        at: *at,
        day: *day,
        retry: None,
    };
    let known = *basis == Some(Basis::Final);
    let tokens = |by: u64| known.then(|| 40 + by * costs + call.unsigned_abs() % 97);
    let ending = NewEnding {
        call,
        account: account.clone(),
        reserve,
        at: at.saturating_add(takes.milliseconds()).unwrap_or(*at),
        sent_at: Some(*at),
        outcome,
        response_id: known.then(|| format!("resp_demo_{call:06}")),
        usage: Usage {
            credits: known.then(|| Credits::whole(*costs)),
            input_tokens: tokens(210),
            output_tokens: tokens(140),
        },
        ending: match basis {
            Some(basis) => Ending::Settled { credits: Credits::whole(*costs), basis: *basis, reason },
            None => Ending::Voided { reason },
        },
    };
    [Command::Hold(hold), Command::End(ending)]
}
