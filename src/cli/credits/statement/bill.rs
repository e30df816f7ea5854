//! The bill itself: sums that are made call by call, and have to be those of the report.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::digest::{RestsOn, rests_on};
use crate::cli::failure::Failure;
use crate::config::{Config, Price};
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::ledger::{Booking, CallId, EnteredGrant, LedgerError, Reading, Span, Stated, StatedCall};

/// What a team has spent in a month.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bill {
    pub(super) team: String,
    /// Like 2026-11.
    pub(super) month: String,
    pub(super) first_day: Date,
    pub(super) last_day: Date,
    /// The month is not over, and what follows is what is booked so far.
    pub(super) goes_on: bool,
    /// In whose calendar.
    pub(super) time_zone: String,
    /// As it is configured now.
    pub(super) budget: Option<Opening>,
    pub(super) grants: Vec<Granted>,
    /// By route and member, or key.
    pub(super) lines: Vec<Line>,
    pub(super) corrections: Vec<Corrected>,
    /// Calls that go on, and what is held for them: not in the total.
    pub(super) open: Open,
    pub(super) total: Line,
    /// The total in money, if what a credit costs is configured.
    pub(super) money: Option<String>,
    pub(super) rests_on: RestsOn,
    #[serde(skip)]
    pub(super) price: Option<Price>,
}

/// What there was to spend.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Opening {
    pub(super) credits: Credits,
    /// `day`, `week` or `month`.
    pub(super) period: &'static str,
}

/// A grant that was in force on a day of the month.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Granted {
    pub(super) number: i64,
    pub(super) credits: Credits,
    pub(super) from: Date,
    pub(super) until: Date,
    pub(super) taken_back: bool,
    pub(super) why: String,
}

/// A sum of calls.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Line {
    pub(super) route: String,
    /// The member, or the key's public id.
    pub(super) member: String,
    pub(super) calls: u64,
    /// What the upstream has said that they cost, or was corrected.
    #[serde(rename = "final")]
    pub(super) known: Credits,
    /// By estimate.
    pub(super) in_doubt: Credits,
    pub(super) total: Credits,
}

/// A correction of a call of the month, whenever it was made.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Corrected {
    pub(super) number: i64,
    pub(super) at: Timestamp,
    pub(super) request_id: String,
    /// What it has changed, negative where the call was cheaper.
    pub(super) credits: String,
    pub(super) why: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Open {
    pub(super) calls: u64,
    pub(super) held: Credits,
}

impl Bill {
    /// Reads it from a ledger, and holds it against the sums by day.
    pub(super) fn read(
        config: &Config,
        reading: &dyn Reading,
        team: &str,
        span: Span,
        today: Date,
    ) -> Result<Self, Failure> {
        let stated = reading.stated(team, span)?;
        let entered = grants(reading, team, span)?;
        let own = config.teams.iter().find(|other| other.name == team);
        if own.is_none() && stated.calls.is_empty() && entered.is_empty() {
            let names: Vec<_> = config.teams.iter().map(|team| team.name.as_str()).collect();
            return Err(Failure::Usage(format!(
                "there is no team {team:?} in the configuration, and no call of one in the ledger; teams are {}",
                names.join(", ")
            )));
        }
        let (lines, open) = lines(&stated);
        let mut total = Line::default();
        for line in &lines {
            total.add(line);
        }
        let spends = reading.spends(span)?;
        let by_report = spends.iter().filter(|spend| spend.team == team);
        let by_report = by_report.fold(Credits::ZERO, |sum, spend| sum + spend.credits());
        let is_pruned = stated.pruned_before.is_some_and(|before| before > span.since);
        if is_pruned && by_report != total.total {
            return Err(Failure::Usage(format!(
                "calls of {} were pruned from the ledger: a statement needs each of them; `credits report --since {} --until {}` \
                 has their sums",
                span.in_words(),
                span.since,
                span.until
            )));
        }
        if by_report != total.total {
            return Err(Failure::Answer(format!(
                "the calls of {} add up to {}, and the sums by day to {by_report}: `credits verify` tells which is wrong",
                span.in_words(),
                total.total
            )));
        }
        let requests: HashMap<CallId, &str> =
            stated.calls.iter().map(|call| (call.call, call.request_id.as_str())).collect();
        let corrections = stated.corrections.iter().map(|correction| Corrected {
            number: correction.number,
            at: correction.at,
            request_id: requests.get(&correction.call).copied().unwrap_or_default().to_owned(),
            credits: signed(correction.millionths),
            why: correction.why.clone(),
        });
        let budget = own.and_then(|own| own.budget);
        let price = config.credits.price.clone();
        Ok(Self {
            team: team.to_owned(),
            month: format!("{:04}-{:02}", span.since.year(), span.since.month()),
            first_day: span.since,
            last_day: span.until,
            goes_on: today <= span.until,
            time_zone: config.credits.zone.iana_name().unwrap_or("UTC").to_owned(),
            budget: budget.map(|budget| Opening { credits: budget.credits, period: budget.period.noun() }),
            corrections: corrections.collect(),
            rests_on: rests_on(&stated, &entered),
            grants: entered.into_iter().map(Granted::from).collect(),
            lines,
            open,
            money: price.as_ref().map(|price| price.of(total.total)),
            total,
            price,
        })
    }

    /// What has to be known of a month that is not over.
    pub(super) fn so_far(&self) -> Option<&'static str> {
        self.goes_on.then_some("The month is not over: this is what is booked so far.")
    }

    /// An amount, with what it is in money.
    pub(super) fn priced(&self, credits: Credits) -> String {
        self.price.as_ref().map_or_else(|| credits.to_string(), |price| price.of(credits))
    }
}

impl Line {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.known += other.known;
        self.in_doubt += other.in_doubt;
        self.total += other.total;
    }
}

impl From<EnteredGrant> for Granted {
    fn from(EnteredGrant { number, grant, why }: EnteredGrant) -> Self {
        let Grant { credits, from, until, taken_back, .. } = grant;
        Self { number, credits, from, until, taken_back, why }
    }
}

/// Grants of a team that were in force on a day of the span.
fn grants(reading: &dyn Reading, team: &str, span: Span) -> Result<Vec<EnteredGrant>, LedgerError> {
    let mut grants = reading.grants_of_all(span.since)?;
    grants.retain(|entered| entered.grant.team == team && entered.grant.from <= span.until);
    Ok(grants)
}

/// Sums of calls by route and member, in their order; and those that go on.
fn lines(stated: &Stated) -> (Vec<Line>, Open) {
    let mut corrected: HashMap<CallId, i64> = HashMap::new();
    for correction in &stated.corrections {
        *corrected.entry(correction.call).or_default() += correction.millionths;
    }
    let (mut lines, mut open) = (BTreeMap::<_, Line>::new(), Open::default());
    for StatedCall { call, route, key_id, booked, credits, .. } in &stated.calls {
        if *booked == Booking::Open {
            open.calls += 1;
            open.held += *credits;
            continue;
        }
        let difference = corrected.get(call);
        let was_sent = *booked != Booking::NeverSent;
        if !was_sent && difference.is_none() {
            continue;
        }
        let line = lines.entry((route.as_str(), key_id.as_str())).or_insert_with(|| Line {
            route: route.clone(),
            member: key_id.clone(),
            ..Line::default()
        });
        let cost = credits.millionths().saturating_add_signed(difference.copied().unwrap_or(0));
        let cost = Credits::from_millionths(cost);
        let is_in_doubt = *booked == Booking::Estimated && difference.is_none();
        line.calls += u64::from(was_sent);
        line.total += cost;
        *(if is_in_doubt { &mut line.in_doubt } else { &mut line.known }) += cost;
    }
    (lines.into_values().collect(), open)
}

fn signed(millionths: i64) -> String {
    let amount = Credits::from_millionths(millionths.unsigned_abs());
    format!("{}{amount}", if millionths < 0 { "-" } else { "+" })
}
