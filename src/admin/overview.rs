//! How everything stands now: `GET /credits/overview`. From memory alone, so that it costs next to nothing and
//! answers when the disk does not.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::board::Board;
use crate::books::jobs::OfRoute;
use crate::books::keeper::Keeper;
use crate::books::pace::Forecast;
use crate::books::shared::Replica;
use crate::config::Price;
use crate::credits::Credits;
use crate::credits::budget::{Budget, Budgets, Standing as Account, Tally, Whose};
use crate::credits::period::Period;
use crate::metrics::OTHER;
use crate::record::series::TeamCounts;
use crate::route::Route;
use crate::usage::{Comparison, UpstreamReading};

/// Everything but the history.
#[derive(Serialize)]
pub(super) struct Overview {
    at: Timestamp,
    started: Timestamp,
    version: &'static str,
    time_zone: String,
    draining: bool,
    upstream_state: &'static str,
    ledger: Ledger,
    /// What is wrong with the configuration as it stands in the file, where that is not the one in force.
    configuration_problem: Option<String>,
    /// What a credit costs, if that is configured.
    price: Option<Price>,
    reserve: Credits,
    pub(super) organisation: Standing,
    /// By retries that were charged once, since ever.
    saved: Credits,
    teams: Vec<Team>,
    upstream: Option<Upstream>,
    usage_interval_seconds: u64,
    window: Window,
    in_flight: InFlight,
    jobs: Vec<Jobs>,
    /// Where several gateways share the ledger.
    replicas: Option<Vec<Replica>>,
    refusals: Vec<Refusals>,
}

#[derive(Serialize)]
struct Ledger {
    closed: bool,
    /// Why it cannot be written.
    trouble: Option<&'static str>,
    open_holds: usize,
}

#[derive(Serialize)]
struct Team {
    name: String,
    calls_in_flight: usize,
    concurrency: usize,
    waiting: u32,
    /// How long another call would wait for a place of the window at the least, where calls of the team wait for one: others wait for
    /// credits, or a place of a route.
    least_wait_seconds: Option<f64>,
    /// Places that it is behind its fair share while its calls wait.
    places_behind: f64,
    saved: Credits,
    standing: Standing,
}

/// A budget, or what is spent where there is none.
#[derive(Serialize)]
pub(super) struct Standing {
    credits: Option<Credits>,
    granted: Option<Credits>,
    period: Period,
    pub(super) used: Credits,
    held: Credits,
    left: Option<Credits>,
    resets: Timestamp,
    per_day: Option<Credits>,
    runs_out: Option<Timestamp>,
    /// What the running period comes to.
    forecast: Option<Forecast>,
}

#[derive(Serialize)]
struct Upstream {
    read_at: Timestamp,
    period_start: Timestamp,
    period_end: Timestamp,
    included: Credits,
    used: Credits,
    remaining: Credits,
    api_used: Credits,
    ours: Credits,
    in_doubt: Credits,
    drift: f64,
    per_day: Option<Credits>,
    runs_out: Option<Timestamp>,
}

#[derive(Serialize)]
struct Window {
    used: u32,
    limit: u32,
}

#[derive(Serialize)]
struct InFlight {
    requests: i64,
    draining: i64,
    held: Credits,
}

/// Of a route that is capped.
#[derive(Serialize)]
struct Jobs {
    route: &'static str,
    /// Whether its calls begin jobs, or are bounded themselves.
    goes_on: bool,
    cap: usize,
    taken: usize,
    unknown: usize,
    in_doubt: usize,
    waiting: usize,
}

impl Jobs {
    fn of(desk: &Keeper, route: Route) -> Option<Self> {
        let (row, stand) = (route.row(), desk.jobs(route));
        let OfRoute { unknown, in_doubt, taken, waiting, .. } = stand;
        let (cap, goes_on) = (row.cap?.get(), row.job().is_some());
        Some(Self { route: row.label, goes_on, cap, taken, unknown, in_doubt, waiting })
    }
}

#[derive(Serialize)]
struct Refusals {
    team: String,
    code: &'static str,
    count: u64,
}

/// Asks everything that knows.
pub(super) fn of(board: &Board) -> Overview {
    let snapshot = board.live.current();
    let (config, desk, calls) = (&snapshot.config, &board.books.desk, board.recorder.counts());
    let now = board.now();
    let (organisation, standings) = standings(board, now);
    let known = snapshot.directory.teams().iter().map(|team| (&*team.name, &*team.counts));
    let teams = snapshot.directory.teams().iter().zip(standings).map(|(team, standing)| {
        let (waiting, places_behind) = desk.waiting(&team.name);
        Team {
            name: team.name.to_string(),
            calls_in_flight: team.standing(desk).1,
            concurrency: team.limits.concurrency,
            waiting,
            least_wait_seconds: desk.least_wait(&team.name).map(|wait| wait.as_secs_f64()),
            places_behind,
            saved: board.books.counts.saved(&team.name),
            standing,
        }
    });
    let teams: Vec<Team> = teams.collect();
    Overview {
        at: now,
        started: board.started,
        version: env!("CARGO_PKG_VERSION"),
        time_zone: time_zone(board),
        draining: board.shutdown.draining.is_cancelled(),
        upstream_state: desk.upstream().as_str(),
        ledger: Ledger {
            closed: board.books.counts.is_closed(),
            trouble: board.books.counts.trouble(),
            open_holds: desk.open_holds(),
        },
        configuration_problem: board.live.refused(),
        price: config.credits.price.clone(),
        reserve: desk.reserve(&config.credits, Route::explained()),
        organisation,
        saved: teams.iter().fold(Credits::ZERO, |sum, team| sum + team.saved),
        teams,
        upstream: board.bill.latest().as_deref().map(|reading| Upstream::of(reading, desk, now)),
        usage_interval_seconds: config.upstream.usage_interval.as_secs(),
        window: Window { used: desk.window_used(), limit: config.upstream.requests_per_minute.get() },
        jobs: Route::all().filter_map(|route| Jobs::of(desk, route)).collect(),
        replicas: desk.shared().map(|shared| shared.health().replicas()),
        in_flight: InFlight {
            requests: calls.in_flight(),
            draining: board.drain.count(),
            held: desk.held(&Whose::Organisation),
        },
        refusals: known.chain([(OTHER, &**calls.strangers())]).flat_map(refusals).collect(),
    }
}

/// The zone that days are of.
pub(super) fn time_zone(board: &Board) -> String {
    board.live.current().config.credits.zone.iana_name().unwrap_or("UTC").to_owned()
}

/// How all budgets stand, of one moment: the organisation's, and each team's in their order.
fn standings(board: &Board, now: Timestamp) -> (Standing, Vec<Standing>) {
    let (snapshot, desk) = (board.live.current(), &board.books.desk);
    let teams =
        snapshot.directory.teams().iter().map(|team| (Whose::Team(Arc::clone(&team.name)), team.budget));
    let budgets = std::iter::once((Whose::Organisation, snapshot.config.credits.budget)).chain(teams);
    let budgets: Vec<_> = budgets.collect();
    // What is spent without a budget is told by the month, as it is billed.
    let counted =
        |budget: Option<Budget>| budget.unwrap_or(Budget { credits: Credits::ZERO, period: Period::Month });
    let all = Budgets(budgets.iter().map(|(whose, budget)| (whose.clone(), counted(*budget))).collect());
    let of =
        |(account, (_, budget)): (Account, (_, Option<Budget>))| Standing::of(desk, account, budget, now);
    let mut all: Vec<_> = desk.standings(&all).into_iter().zip(budgets).map(of).collect();
    (all.remove(0), all)
}

fn refusals<'m>((team, counts): (&'m str, &'m TeamCounts)) -> impl Iterator<Item = Refusals> + 'm {
    let counted = counts.refusals().filter(|(_, count)| *count > 0);
    counted.map(move |(code, count)| Refusals { team: team.to_owned(), code: code.as_str(), count })
}

impl Standing {
    fn of(desk: &Keeper, account: Account, budget: Option<Budget>, now: Timestamp) -> Self {
        let Account { whose, budget: counted, tally, resets } = account;
        let pace = desk.pace(&whose);
        let (left, Tally { granted, used, held, .. }) = (tally.left(), tally);
        Self {
            credits: budget.map(|budget| budget.credits),
            granted: budget.map(|_| granted),
            period: counted.period,
            used,
            held,
            left: budget.map(|_| left),
            resets,
            per_day: pace.map(|pace| pace.per_day),
            runs_out: budget.and(pace).and_then(|pace| pace.runs_out(left, now, resets)),
            forecast: pace.map(|pace| pace.forecast(used, now, resets)),
        }
    }
}

impl Upstream {
    fn of(reading: &UpstreamReading, desk: &Keeper, now: Timestamp) -> Self {
        let UpstreamReading { at, comparison } = *reading;
        let Comparison { theirs, settled, in_doubt } = comparison;
        let pace = desk.pace(&Whose::Organisation);
        Self {
            read_at: at,
            period_start: theirs.start,
            period_end: theirs.end,
            included: theirs.included,
            used: theirs.used,
            remaining: theirs.remaining,
            api_used: theirs.api_used,
            ours: settled + in_doubt,
            in_doubt,
            drift: comparison.drift(),
            per_day: pace.map(|pace| pace.per_day),
            runs_out: pace.and_then(|pace| pace.runs_out(theirs.remaining, now, theirs.end)),
        }
    }
}
