//! The window, asked through a desk at which nobody waits.

use std::time::Duration;

use super::super::*;
use super::{free, no, seconds, settings};

/// A desk that refuses who finds no place.
fn desk(per_minute: u32) -> Desk {
    let settings = Settings { queues: false, ..settings(per_minute) };
    Desk::new(settings, Moment::ZERO, super::DAY, super::NEVER)
}

fn take(desk: &mut Desk, now: Moment) -> Option<Tick> {
    match desk.ask(free("a", 0), now) {
        Verdict::Granted(granted) => Some(granted.tick),
        Verdict::Refused(_) => None,
        Verdict::Waits(_) => panic!("nobody waits here"),
    }
}

fn answer(desk: &mut Desk, tick: Tick, now: Moment) {
    let tick = desk.send("a", tick, now).unwrap();
    desk.answered("a", tick, now, now);
}

/// From when a full window says that it has a place.
fn from(desk: &mut Desk, now: Moment) -> Moment {
    match no(desk.ask(free("a", 0), now)) {
        No::Place(NoPlace::Full { from, .. }) => from,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_sent_before_a_restart_counts_for_the_rest_of_its_minute() {
    let (mut desk, now) = (desk(3), seconds(4000.0));
    for age in [0.0, 30.0, 59.0, 62.0, 3600.0] {
        desk.take_up(seconds(age), now);
    }
    assert_eq!(desk.used(now), 3);
    assert!(take(&mut desk, now).is_none());
    assert_eq!(desk.used(now + seconds(3.0)), 2);
    assert!(take(&mut desk, now + seconds(3.0)).is_some());
    assert_eq!(desk.used(now + seconds(65.0)), 0);
}

#[test]
fn no_sixty_seconds_ever_hold_more_than_the_limit() {
    let (mut desk, mut now, mut arrivals) = (desk(20), Moment::ZERO, Vec::new());
    for step in 0u64..6000 {
        now += Duration::from_millis(37 + step % 5 * 11);
        if let Some(tick) = take(&mut desk, now) {
            // Anywhere between the write and the answer.
            arrivals.push(now);
            let tick = desk.send("a", tick, now).unwrap();
            now += Duration::from_millis(step % 7 * 30);
            desk.answered("a", tick, now, now);
        }
    }
    for pair in arrivals.windows(21) {
        let apart = pair[20].saturating_sub(pair[0]);
        assert!(apart >= WINDOW, "{apart:?}");
    }
    assert!(arrivals.len() > 60, "the window refills");
}

#[test]
fn the_time_it_names_is_true_and_not_much_too_late() {
    let mut desk = desk(1);
    let tick = take(&mut desk, Moment::ZERO).unwrap();
    answer(&mut desk, tick, Moment::ZERO);
    let from = from(&mut desk, Moment::ZERO);
    assert!((WINDOW..=WINDOW + 2 * TICK).contains(&from), "{from:?}");
    assert!(take(&mut desk, from).is_some());
}

#[test]
fn the_time_it_names_is_true_where_more_than_one_place_must_leave() {
    let mut desk = desk(5);
    for n in 0..5 {
        let now = seconds(3.0 * f64::from(n));
        let tick = take(&mut desk, now).unwrap();
        answer(&mut desk, tick, now);
    }
    // A reload has lowered the limit: four of five must leave.
    desk.set(Settings { queues: false, ..settings(2) });
    let from = from(&mut desk, seconds(15.0));
    assert!(take(&mut desk, from.saturating_sub(TICK)).is_none(), "a moment earlier is too early");
    assert!(take(&mut desk, from).is_some());
}

#[test]
fn a_place_that_left_before_its_call_was_sent_is_asked_for_anew() {
    let mut desk = desk(2);
    let late = take(&mut desk, Moment::ZERO).unwrap();
    for _ in 0..2 {
        let tick = take(&mut desk, seconds(120.0)).unwrap();
        answer(&mut desk, tick, seconds(120.0));
    }
    assert!(matches!(desk.send("a", late, seconds(120.0)), Err(NoPlace::Full { per_minute: 2, .. })));
    assert_eq!(desk.used(seconds(120.0)), 2);
    assert!(desk.send("a", late, seconds(182.0)).is_ok());
    assert_eq!(desk.used(seconds(182.0)), 1);
}

#[test]
fn a_request_that_was_never_sent_gives_its_place_back() {
    let mut desk = desk(1);
    let tick = take(&mut desk, Moment::ZERO).unwrap();
    assert_eq!(desk.used(Moment::ZERO), 1);
    desk.free_place("a", tick, Moment::ZERO);
    assert_eq!(desk.used(Moment::ZERO), 0);
}

#[test]
fn a_429_closes_the_window_as_long_as_it_says() {
    let mut desk = desk(100);
    desk.heed(Said { closed_for: Some(seconds(7.0)), ..Said::default() }, Moment::ZERO);
    let refused = no(desk.ask(free("a", 0), Moment::ZERO));
    assert_eq!(refused, No::Place(NoPlace::Closed { until: seconds(7.0) }));
    assert!(take(&mut desk, seconds(7.0)).is_some());
}

#[test]
fn what_others_spend_with_the_key_is_heeded() {
    let mut desk = desk(100);
    let tick = take(&mut desk, Moment::ZERO).unwrap();
    answer(&mut desk, tick, Moment::ZERO);
    let reset = Some(seconds(10.0));
    desk.heed(Said { limit: Some(100), remaining: Some(1), reset, closed_for: None }, Moment::ZERO);
    assert_eq!(desk.used(Moment::ZERO), 99);
    assert!(take(&mut desk, Moment::ZERO).is_some());
    let from = from(&mut desk, Moment::ZERO);
    assert!(from <= seconds(10.0), "{from:?}");
    assert!(take(&mut desk, from).is_some());
}

#[test]
fn a_lower_limit_of_the_upstream_wins() {
    let mut desk = desk(240);
    desk.heed(Said { limit: Some(2), ..Said::default() }, Moment::ZERO);
    for _ in 0..2 {
        assert!(take(&mut desk, Moment::ZERO).is_some());
    }
    let refused = no(desk.ask(free("a", 0), Moment::ZERO));
    assert!(matches!(refused, No::Place(NoPlace::Full { per_minute: 2, .. })));
    assert!(take(&mut desk, WINDOW).is_some(), "it holds for as long as what it was said about");
}
