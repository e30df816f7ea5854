//! The desk beside the [reference](super::reference), whatever happens to both.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use proptest::prelude::*;

use super::super::*;
use super::homes::Homes;
use super::reference::{Naive, Word};
use super::{DAY, NEVER, patience, settings};
use crate::credits::Credits;
use crate::credits::budget::{Budget, Budgets, Grant, Whose};
use crate::credits::period::Period;

#[derive(Clone, Debug)]
enum Event {
    Ask { team: usize, key: usize, cost: u64, capped: bool, turn: u64, credits: u64 },
    Pass(u64),
    Leave(usize),
    Send(usize),
    Answer(usize),
    NeverSent(usize),
    End(usize, u64),
    PutBack(usize),
    Heed(Said),
    Set(u32, usize, bool),
    Grant(u64),
    Day,
    Spend(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let said =
        (0u32..12, 0u32..12, 0u64..30_000, 0u64..40).prop_map(|(limit, remaining, reset, closed)| Said {
            limit: (limit > 4).then_some(limit),
            remaining: (limit > 4 && remaining < limit).then_some(remaining),
            reset: Some(Duration::from_millis(reset)),
            closed_for: (closed > 35).then(|| Duration::from_secs(closed - 30)),
        });
    let event = prop_oneof![
        12 => (0usize..4, 0usize..2, 0u64..8, proptest::bool::weighted(0.2), 0u64..50, 0u64..20).prop_map(
            |(team, key, cost, capped, turn, credits)| Event::Ask { team, key, cost, capped, turn, credits }
        ),
        8 => (0u64..4000).prop_map(Event::Pass),
        1 => (4000u64..70_000).prop_map(Event::Pass),
        1 => (300_000u64..400_000).prop_map(Event::Pass),
        2 => (0usize..100).prop_map(Event::Leave),
        3 => (0usize..100).prop_map(Event::Send),
        3 => (0usize..100).prop_map(Event::Answer),
        1 => (0usize..100).prop_map(Event::NeverSent),
        4 => (0usize..100, 0u64..9).prop_map(|(n, cost)| Event::End(n, cost)),
        1 => (0usize..100).prop_map(Event::PutBack),
        1 => said.prop_map(Event::Heed),
        1 => (2u32..14, 1usize..8, proptest::bool::weighted(0.8)).prop_map(|(n, waiting, q)| Event::Set(n, waiting, q)),
        1 => (0u64..20).prop_map(Event::Grant),
        1 => Just(Event::Day),
        1 => (0u64..5).prop_map(Event::Spend),
    ];
    proptest::collection::vec(event, 1..150)
}

/// The desk and the reference beside it, asked the same, and everything that was given.
struct Pair {
    desk: Homes,
    naive: Naive,
    now: Moment,
    day: Date,
    /// Granted: what was given, and whether its place and its credits are still its own.
    given: Vec<(Box<Granted>, bool, bool)>,
    waiting: BTreeMap<u64, Arc<str>>,
}

fn word(no: &No) -> Word {
    match no {
        No::Place(NoPlace::Closed { .. }) => Word::Closed,
        No::Upstream { .. } => unreachable!("none is told of"),
        No::Place(NoPlace::Full { .. }) => Word::Full,
        No::QueueFull { .. } => Word::QueueFull,
        No::RouteFull { .. } => Word::RouteFull,
        No::Short { whose, .. } => Word::Short(whose.clone()),
    }
}

impl Pair {
    /// The desk has so many homes, of gateways that ask it in turn.
    fn of(homes: usize) -> Self {
        let settings = Settings { waiting: 6, ..settings(6) };
        Self {
            desk: Homes::of(Desk::new(settings, Moment::ZERO, DAY, NEVER), homes),
            naive: Naive::new(settings, Moment::ZERO, DAY, NEVER),
            now: Moment::ZERO,
            day: DAY,
            given: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn ask(&mut self, ask: &Ask, again: Option<(Ticket, Moment)>) {
        let expected =
            self.naive.ask(ask.clone(), again.map(|(ticket, joined)| (ticket.0, joined)), self.now);
        let team = Arc::clone(&ask.team);
        let verdict = match again {
            Some(came) => self.desk.put_back(ask, came, self.now),
            None => self.desk.ask(ask, self.now),
        };
        let told = match verdict {
            Verdict::Granted(granted) => {
                let ticket = granted.ticket.0;
                self.given.push((granted, true, true));
                Word::Granted(ticket)
            }
            Verdict::Waits(ticket) => {
                assert!(self.waiting.insert(ticket.0, team).is_none(), "it waits twice");
                Word::Waits(ticket.0)
            }
            Verdict::Refused(refused) => word(&refused.no),
        };
        assert_eq!(told, expected);
    }

    fn turn(&mut self) {
        let expected = self.naive.turn(self.now);
        let mut told = Vec::new();
        for Outcome { ticket, verdict, .. } in self.desk.turn(self.now) {
            assert!(self.waiting.remove(&ticket.0).is_some(), "{ticket:?} is told of once");
            let word = match verdict {
                Ok(granted) => {
                    self.given.push((granted, true, true));
                    Word::Granted(ticket.0)
                }
                Err(refused) => word(&refused.no),
            };
            told.push((ticket.0, word));
        }
        assert_eq!(told, expected);
        assert_eq!(self.desk.waiting(), self.waiting.len());
    }

    /// Time passes, and the desk is asked whenever it said so.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.desk.next(self.now).filter(|next| *next <= until) {
            assert!(next > self.now, "it would be asked for ever");
            self.now = next;
            self.turn();
        }
        self.now = until;
        self.turn();
    }

    fn held(&mut self, n: usize, is: impl Fn(&(Box<Granted>, bool, bool)) -> bool) -> Option<usize> {
        let some: Vec<_> = (0..self.given.len()).filter(|at| is(&self.given[*at])).collect();
        some.get(n.checked_rem(some.len())?).copied()
    }

    fn run(&mut self, event: &Event) {
        match *event {
            Event::Ask { team, key, cost, capped, turn, credits } => {
                let name: Arc<str> = ["a", "b", "c", "d"][team].into();
                let key_id: Arc<str> = format!("{name}{key}").into();
                let budget = |credits, period| Budget { credits: Credits::whole(credits), period };
                // The dear ones are of a route of their own.
                let route = key + 2 * usize::from(cost > 5);
                let of_route = Whose::Route { team: Arc::clone(&name), number: route, label: "dear".into() };
                let budgets = [
                    (Whose::Organisation, budget(80, Period::Month)),
                    (Whose::Team(Arc::clone(&name)), budget(30, Period::Week)),
                    (Whose::Key(Arc::clone(&key_id)), budget(12, Period::Day)),
                    (of_route, budget(14, Period::Day)),
                ];
                let bound = if team == 3 { 0 } else { 4 - 2 * key };
                let most = if credits == 7 { Duration::from_secs(3) } else { Duration::MAX };
                self.ask(
                    &Ask {
                        owner: 0,
                        team: name,
                        weight: NonZeroU32::new([1, 2, 4, 1][team]).unwrap(),
                        key_id,
                        costs: cost > 0,
                        reserve: Credits::whole(cost),
                        budgets: Budgets(budgets[..bound].into()),
                        route,
                        cap: capped.then_some(Cap {
                            calls: NonZeroUsize::new(2).unwrap(),
                            team: (team == 1).then_some(NonZeroUsize::MIN),
                        }),
                        patience: Patience { most, ..patience(turn, credits) },
                    },
                    None,
                );
            }
            Event::Pass(milliseconds) => self.pass(Duration::from_millis(milliseconds)),
            Event::Leave(n) => {
                let Some(n) = n.checked_rem(self.waiting.len()) else { return };
                let (ticket, team) =
                    self.waiting.iter().nth(n).map(|(t, team)| (*t, Arc::clone(team))).unwrap();
                self.waiting.remove(&ticket);
                assert!(self.naive.leave(ticket, self.now));
                assert!(self.desk.leave(&team, Ticket(ticket), self.now).is_some());
                assert!(self.desk.leave(&team, Ticket(ticket), self.now).is_none());
            }
            Event::Send(n) => {
                let Some(at) = self.held(n, |given| given.1) else { return };
                let granted = &mut self.given[at].0;
                let from = tick(granted.tick);
                let sent = self.desk.send(&granted.ask.team, granted.tick, self.now);
                let may = Naive::is_taken(from, self.now) || self.naive.has_room(self.now);
                assert_eq!(sent.is_ok(), may);
                if let Ok(tick) = sent {
                    let to = self.now + Duration::from_millis(61_100);
                    self.naive.move_place(&granted.ask.team, from, Some(to), self.now);
                    granted.tick = tick;
                }
            }
            Event::Answer(n) => {
                let Some(at) = self.held(n, |given| given.1) else { return };
                let granted = &self.given[at].0;
                self.desk.answered(&granted.ask.team, granted.tick, self.now, self.now);
                let to = self.now + Duration::from_millis(60_100);
                if to.as_millis() / 100 < tick(granted.tick) {
                    self.naive.move_place(&granted.ask.team, tick(granted.tick), Some(to), self.now);
                }
                self.given[at].1 = false;
            }
            Event::NeverSent(n) => {
                let Some(at) = self.held(n, |given| given.1) else { return };
                let granted = &self.given[at].0;
                self.desk.free_place(&granted.ask.team, granted.tick, self.now);
                self.naive.move_place(&granted.ask.team, tick(granted.tick), None, self.now);
                self.given[at].1 = false;
            }
            Event::End(n, cost) => self.end(n, Credits::whole(cost)),
            Event::PutBack(n) => {
                let Some(at) = self.held(n, |given| given.1 && given.2) else { return };
                let granted = self.given[at].0.clone();
                let nth = (0..self.given.len()).filter(|at| self.given[*at].2).position(|other| other == at);
                self.end(nth.unwrap(), Credits::ZERO);
                self.given[at].1 = false;
                self.ask(&granted.ask, Some((granted.ticket, granted.joined)));
            }
            Event::Heed(said) => {
                self.desk.heed(said, self.now);
                self.naive.heed(said, self.now);
            }
            Event::Set(limit, waiting, queues) => {
                let settings = Settings { waiting, queues, ..settings(limit) };
                self.desk.set(settings);
                self.naive.settings = settings;
            }
            Event::Grant(credits) => {
                let grant = |team: &str, credits| Grant {
                    team: team.to_owned(),
                    credits: Credits::whole(credits),
                    from: DAY,
                    until: DAY + i64::try_from(credits % 5).unwrap().days(),
                    taken_back: credits % 7 == 0,
                };
                let grants = vec![grant("organisation", credits), grant("a", credits / 2)];
                self.desk.set_grants(&grants);
                self.naive.set_grants(grants);
            }
            Event::Day => {
                self.day = self.day.tomorrow().unwrap();
                let ends = self.now + Duration::from_secs(30);
                self.desk.roll(self.day, ends);
                self.naive.roll(self.day, ends);
            }
            Event::Spend(credits) => {
                let yesterday = self.day.yesterday().unwrap();
                let (team, key): (Arc<str>, Arc<str>) = ("a".into(), "a0".into());
                let millionths = i64::try_from(credits * 1_000_000).unwrap();
                let on = BookedOn { team: &team, key_id: &key, route: None };
                self.desk.adjust(yesterday, on, millionths);
                self.naive.spend(yesterday, &team, &key, Credits::whole(credits));
            }
        }
    }

    fn end(&mut self, n: usize, spent: Credits) {
        let Some(at) = self.held(n, |given| given.2) else { return };
        let granted = &self.given[at].0;
        let spent = spent.min(granted.ask.reserve);
        if granted.ask.costs {
            self.desk.end(granted.day, granted.ask.booked_on(), granted.ask.reserve, spent);
            self.naive.end(&granted.ask, granted.day, spent);
        }
        if granted.ask.cap.is_some() {
            self.desk.free_route(granted.ask.route, &granted.ask.team, self.now);
            self.naive.free_route(granted.ask.route, &granted.ask.team, self.now);
        }
        self.given[at].2 = false;
    }

    /// What must hold whatever happens.
    fn check(&mut self) {
        let now = self.now;
        assert_eq!(self.desk.used(now), self.naive.used(now), "who waits has no place");
        let held = self.given.iter().filter(|given| given.2 && given.0.ask.costs);
        let held = held.fold(Credits::ZERO, |sum, given| sum + given.0.ask.reserve);
        assert_eq!(self.desk.held(&Whose::Organisation), held, "who waits holds no credits");
        if let Some(next) = self.desk.next(now) {
            assert!(self.desk.has_waiting() && next >= now);
        }
    }
}

fn tick(tick: Tick) -> u128 {
    u128::from(tick.number())
}

fn decides_as_the_reference(homes: usize, events: &[Event]) {
    let mut pair = Pair::of(homes);
    for event in events {
        pair.run(event);
        pair.turn();
        pair.check();
    }
    // Everybody is told in the end.
    pair.pass(Duration::from_mins(10));
    assert!(pair.waiting.is_empty() && !pair.desk.has_waiting());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_desk_decides_as_the_rules_written_down_a_second_time(events in events()) {
        decides_as_the_reference(1, &events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each event at another gateway than the one before, the others told of it: as with one.
    #[test]
    fn one_desk_of_three_gateways_decides_as_one_of_one(events in events()) {
        decides_as_the_reference(3, &events);
    }
}
