//! The desk by itself: what each rule promises, and, in [`pair`], all of them against a second telling.

mod homes;
mod pair;
mod reference;
mod window;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::civil::{Date, date};

use super::*;
use crate::credits::Credits;
use crate::credits::budget::Budgets;

const DAY: Date = date(2030, 1, 31);
const NEVER: Moment = Duration::from_hours(24);

fn settings(per_minute: u32) -> Settings {
    let per_minute = NonZeroU32::new(per_minute).unwrap();
    Settings { per_minute, reserve: 0.1, waiting: 10_000, queues: true, grace: Duration::ZERO }
}

fn desk(per_minute: u32) -> Desk {
    Desk::new(settings(per_minute), Moment::ZERO, DAY, NEVER)
}

fn patience(turn: u64, credits: u64) -> Patience {
    let [turn, credits] = [turn, credits].map(Duration::from_secs);
    Patience { turn, credits, most: Duration::MAX }
}

/// A call that costs nothing.
fn free(team: &str, turn: u64) -> Ask {
    Ask {
        owner: 0,
        team: team.into(),
        weight: NonZeroU32::MIN,
        key_id: team.into(),
        route: 0,
        costs: false,
        reserve: Credits::ZERO,
        budgets: Budgets::default(),
        cap: None,
        patience: patience(turn, 10),
    }
}

fn no(verdict: Verdict) -> No {
    match verdict {
        Verdict::Refused(refused) => refused.no,
        served => panic!("{served:?}"),
    }
}

fn float(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

fn seconds(seconds: f64) -> Moment {
    Duration::from_secs_f64(seconds)
}

/// Runs a desk by its own word on when to ask it, until `until`; greedy teams ask again at once. Returns the grants: which
/// team, when it asked, when it was let through.
fn run(
    desk: &mut Desk,
    greedy: &[(&str, u32, usize)],
    mut others: Vec<(Moment, &str)>,
    until: Moment,
) -> Vec<(String, Moment, Moment)> {
    let mut grants = Vec::new();
    let mut now = Moment::ZERO;
    let weight =
        |team: &str| greedy.iter().find(|(name, ..)| *name == team).map_or(1, |(_, weight, _)| *weight);
    let ask = |team: &str| Ask { weight: NonZeroU32::new(weight(team)).unwrap(), ..free(team, 100_000) };
    let mut asks: Vec<String> =
        greedy.iter().flat_map(|(name, _, callers)| vec![(*name).to_owned(); *callers]).collect();
    others.sort();
    others.reverse();
    while now < until {
        while others.last().is_some_and(|(at, _)| *at <= now) {
            asks.extend(others.pop().map(|(_, team)| team.to_owned()));
        }
        for team in std::mem::take(&mut asks) {
            if let Verdict::Granted(granted) = desk.ask(ask(&team), now) {
                grants.push((team.clone(), granted.joined, now));
                asks.extend(greedy.iter().any(|(name, ..)| *name == team).then_some(team));
            }
        }
        for outcome in desk.turn(now) {
            let granted = outcome.verdict.expect("all have time");
            let team = granted.ask.team.to_string();
            grants.push((team.clone(), granted.joined, now));
            asks.extend(greedy.iter().any(|(name, ..)| *name == team).then_some(team));
        }
        assert!(desk.used(now) <= desk.settings.per_minute.get());
        let next = [desk.next(now), others.last().map(|(at, _)| *at)].into_iter().flatten().min();
        let next = if asks.is_empty() { next.unwrap_or(until) } else { now };
        assert!(next >= now, "{next:?} after {now:?}");
        now = next;
    }
    grants
}

#[test]
fn a_lone_batch_in_an_empty_window_is_let_through_at_once() {
    let mut desk = desk(60);
    let grants = run(&mut desk, &[], vec![(seconds(100.0), "batch"); 40], seconds(300.0));
    assert_eq!(grants.len(), 40);
    assert!(grants.iter().all(|(_, asked, granted)| asked == granted));
}

#[test]
fn a_newcomer_beside_a_greedy_team_is_served_within_two_seconds() {
    let mut desk = desk(60);
    let newcomer = (0..20).map(|n| (seconds(400.0 + 9.0 * f64::from(n)), "new")).collect();
    let grants = run(&mut desk, &[("greedy", 1, 70)], newcomer, seconds(700.0));
    let of_newcomer = grants.iter().filter(|(team, ..)| team == "new");
    let waits: Vec<_> = of_newcomer.map(|(_, asked, at)| at.saturating_sub(*asked)).collect();
    assert_eq!(waits.len(), 20);
    assert!(waits.iter().all(|wait| *wait <= seconds(2.0)), "{waits:?}");
}

#[test]
fn service_follows_weights_and_the_bounds_between_two_backlogs_hold() {
    for limit in [60, 240] {
        let mut desk = desk(limit);
        let grants =
            run(&mut desk, &[("a", 1, 300), ("b", 2, 300), ("c", 4, 300)], Vec::new(), seconds(915.0));
        let warm: Vec<_> = grants.iter().filter(|(.., at)| *at > seconds(122.0)).collect();
        let count = |team: &str| float(warm.iter().filter(|(name, ..)| name == team).count());
        let one_of_seven = float(warm.len()) / 7.0;
        for (team, weight) in [("a", 1.0), ("b", 2.0), ("c", 4.0)] {
            let share = count(team) / (weight * one_of_seven);
            assert!((0.97..=1.03).contains(&share), "{team} of {limit}: {share}");
        }
        // Evenly: two grants are at most 2 · H / L apart.
        let apart = warm.windows(2).map(|pair| pair[1].2.saturating_sub(pair[0].2)).max().unwrap();
        assert!(apart <= seconds(2.0 * 61.1 / f64::from(limit)), "{apart:?}");
        // In any 61 seconds each gets its share less one.
        for (from, (.., begins)) in warm.iter().enumerate().filter(|(_, (.., at))| *at < seconds(850.0)) {
            let within: Vec<_> =
                warm[from..].iter().take_while(|(.., at)| *at < *begins + seconds(61.1)).collect();
            for (team, weight) in [("a", 1.0), ("b", 2.0), ("c", 4.0)] {
                let got = float(within.iter().filter(|(name, ..)| name == team).count());
                let share = f64::from(limit) * weight / 7.0;
                assert!(
                    got >= (share - 1.0).floor(),
                    "{team} of {limit} got {got} of {share} from {begins:?}"
                );
            }
        }
        // Two backlogs differ by at most 1/φi + 1/φj in any interval.
        let mut served = BTreeMap::from([("a", 0.0), ("b", 0.0), ("c", 0.0)]);
        let mut extremes = BTreeMap::new();
        for (team, ..) in &warm {
            let weight = match team.as_str() {
                "a" => 1.0,
                "b" => 2.0,
                _ => 4.0,
            };
            *served.get_mut(team.as_str()).unwrap() += 1.0 / weight;
            for (i, j) in [("a", "b"), ("a", "c"), ("b", "c")] {
                let difference: f64 = served[i] - served[j];
                let (low, high) = extremes.entry((i, j)).or_insert((difference, difference));
                (*low, *high) = (low.min(difference), high.max(difference));
            }
        }
        for ((i, j), bound) in [(("a", "b"), 1.5), (("a", "c"), 1.25), (("b", "c"), 0.75)] {
            let (low, high) = extremes[&(i, j)];
            assert!(high - low <= bound + 1e-9, "{i}{j} of {limit}: {low} {high}");
        }
    }
}

#[test]
fn who_cannot_be_served_in_time_is_told_at_once_and_from_when_it_could() {
    let mut desk = desk(2);
    let settings = Settings { reserve: 0.0, ..settings(2) };
    desk.set(settings);
    for _ in 0..2 {
        assert!(matches!(desk.ask(free("a", 20), Moment::ZERO), Verdict::Granted(_)));
    }
    let refused = no(desk.ask(free("a", 20), seconds(1.0)));
    assert_eq!(refused, No::Place(NoPlace::Full { per_minute: 2, position: 1, from: seconds(61.1) }));
    assert!(matches!(desk.ask(free("a", 60), seconds(1.5)), Verdict::Waits(_)));
    assert!(matches!(desk.ask(free("a", 60), seconds(1.5)), Verdict::Waits(_)));
    assert!(matches!(
        no(desk.ask(free("a", 60), seconds(1.5))),
        No::Place(NoPlace::Full { position: 3, .. })
    ));
    assert!(desk.turn(seconds(61.0)).is_empty());
    assert!(desk.turn(seconds(61.1))[0].verdict.is_ok());
}

#[test]
fn a_call_that_was_put_back_stands_in_front_of_its_team() {
    let mut desk = desk(1);
    desk.set(Settings { reserve: 0.0, waiting: 1, ..settings(1) });
    let Verdict::Granted(first) = desk.ask(free("a", 1000), Moment::ZERO) else { panic!() };
    let Verdict::Waits(second) = desk.ask(free("a", 1000), seconds(0.2)) else { panic!() };
    assert!(matches!(no(desk.ask(free("a", 1000), seconds(0.2))), No::QueueFull { waiting: 1, .. }));
    let closed_for = Some(seconds(7.0));
    desk.heed(Said { closed_for, ..Said::default() }, seconds(1.0));
    let Verdict::Waits(again) = desk.put_back(first.ask, (first.ticket, first.joined), seconds(1.0)) else {
        panic!("it is bounded by what is in flight")
    };
    assert!(again < second && desk.waiting("a") == 2);
    let next = desk.next(seconds(1.0)).unwrap();
    assert_eq!(next, seconds(61.1));
    assert_eq!(desk.turn(next)[0].ticket, again);
}

#[test]
fn a_team_that_is_gone_takes_its_calls_along() {
    let mut desk = desk(1);
    let _first = desk.ask(free("a", 1000), Moment::ZERO);
    for team in ["a", "b", "b"] {
        assert!(matches!(desk.ask(free(team, 1000), seconds(1.0)), Verdict::Waits(_)), "{team}");
    }
    assert_eq!(desk.dismiss(|team| team == "b", seconds(2.0)).len(), 2);
    assert_eq!((desk.waiting("a"), desk.waiting("b")), (1, 0));
}

#[test]
fn what_the_upstream_takes_of_a_route_at_once_is_held_over_all_teams_and_waited_for() {
    let mut desk = desk(60);
    let capped = |team: &str, turn| {
        let cap = Some(Cap { calls: NonZeroUsize::MIN, team: None });
        Ask { cap, route: 3, ..free(team, turn) }
    };
    let Verdict::Granted(_) = desk.ask(capped("a", 20), Moment::ZERO) else { panic!() };
    assert_eq!(
        no(desk.ask(capped("b", 0), seconds(1.0))),
        No::RouteFull { calls: NonZeroUsize::MIN, of_team: false }
    );
    let Verdict::Waits(ticket) = desk.ask(capped("b", 20), seconds(1.0)) else { panic!() };
    let Verdict::Granted(_) = desk.ask(free("b", 20), seconds(1.0)) else {
        panic!("another route of it goes on")
    };
    assert!(desk.turn(seconds(2.0)).is_empty());
    desk.free_route(3, "a", seconds(3.0));
    let outcomes = desk.turn(seconds(3.0));
    assert_eq!((outcomes.len(), outcomes[0].ticket), (1, ticket));
}
