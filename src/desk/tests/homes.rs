//! One desk that several gateways have: whichever is asked, the others are told what it said.

use std::sync::Arc;

use jiff::civil::Date;

use super::super::*;
use crate::credits::Credits;
use crate::credits::budget::{Grant, Whose};

/// Desks that are to be the same, and whose turn it is to be asked.
pub(super) struct Homes {
    desks: Vec<Desk>,
    at: usize,
}

impl Homes {
    pub(super) fn of(desk: Desk, count: usize) -> Self {
        Self { desks: vec![desk; count], at: 0 }
    }

    /// The next one is asked, the others are told.
    fn split(&mut self) -> (&mut Desk, impl Iterator<Item = &mut Desk>) {
        self.at = (self.at + 1) % self.desks.len();
        let (before, rest) = self.desks.split_at_mut(self.at);
        let (own, after) = rest.split_first_mut().unwrap();
        (own, before.iter_mut().chain(after))
    }

    fn one(&mut self) -> &mut Desk {
        self.split().0
    }

    /// All of them are told the same, and say the same.
    fn each<T: PartialEq + std::fmt::Debug>(&mut self, mut tell: impl FnMut(&mut Desk) -> T) -> T {
        let mut said: Vec<T> = self.desks.iter_mut().map(&mut tell).collect();
        let first = said.swap_remove(0);
        assert!(said.iter().all(|other| *other == first), "{first:?} {said:?}");
        first
    }

    fn asked(&mut self, ask: &Ask, came: Option<(Ticket, Moment)>, now: Moment) -> Verdict {
        let (own, others) = self.split();
        let verdict = match came {
            Some(came) => own.put_back(ask.clone(), came, now),
            None => own.ask(ask.clone(), now),
        };
        let told = match verdict {
            Verdict::Granted(_) => Retold::Granted,
            Verdict::Waits(_) => Retold::Waits,
            Verdict::Refused(_) => Retold::Refused,
        };
        for other in others {
            let granted = other.retell(ask.clone(), came, told, now);
            let tick = match &verdict {
                Verdict::Granted(granted) => Some((granted.ticket, granted.tick, granted.left)),
                _ => None,
            };
            assert_eq!(granted.map(|granted| (granted.ticket, granted.tick, granted.left)), tick);
        }
        verdict
    }

    pub(super) fn ask(&mut self, ask: &Ask, now: Moment) -> Verdict {
        self.asked(ask, None, now)
    }

    pub(super) fn put_back(&mut self, ask: &Ask, came: (Ticket, Moment), now: Moment) -> Verdict {
        self.asked(ask, Some(came), now)
    }

    pub(super) fn turn(&mut self, now: Moment) -> Vec<Outcome> {
        let (own, others) = self.split();
        let outcomes = own.turn(now);
        let told: Vec<_> = outcomes.iter().map(|outcome| (outcome.ticket, outcome.verdict.is_ok())).collect();
        let spaced = own.spaced();
        for other in others {
            let retold = other.retell_turn(&told, spaced, now);
            assert!(
                retold
                    .iter()
                    .map(|outcome| (outcome.ticket, outcome.verdict.is_ok()))
                    .eq(told.iter().copied())
            );
        }
        outcomes
    }

    pub(super) fn leave(&mut self, team: &str, ticket: Ticket, now: Moment) -> Option<Moment> {
        self.each(|desk| desk.leave(team, ticket, now))
    }

    pub(super) fn send(&mut self, team: &str, tick: Tick, now: Moment) -> Result<Tick, NoPlace> {
        self.each(|desk| desk.send(team, tick, now))
    }

    pub(super) fn answered(&mut self, team: &str, tick: Tick, at: Moment, now: Moment) {
        self.each(|desk| desk.answered(team, tick, at, now));
    }

    pub(super) fn free_place(&mut self, team: &str, tick: Tick, now: Moment) {
        self.each(|desk| desk.free_place(team, tick, now));
    }

    pub(super) fn heed(&mut self, said: Said, now: Moment) {
        self.each(|desk| desk.heed(said, now));
    }

    pub(super) fn set(&mut self, settings: Settings) {
        self.each(|desk| desk.set(settings));
    }

    pub(super) fn set_grants(&mut self, grants: &[Grant]) {
        self.each(|desk| desk.set_grants(grants.to_vec()));
    }

    pub(super) fn roll(&mut self, today: Date, ends: Moment) {
        self.each(|desk| desk.roll(today, ends));
    }

    pub(super) fn adjust(&mut self, day: Date, on: BookedOn<'_>, millionths: i64) {
        self.each(|desk| desk.adjust(day, on, millionths));
    }

    pub(super) fn end(&mut self, day: Date, on: BookedOn<'_>, reserve: Credits, spent: Credits) {
        self.each(|desk| desk.end(day, on, reserve, spent));
    }

    pub(super) fn free_route(&mut self, route: usize, team: &Arc<str>, now: Moment) {
        self.each(|desk| desk.free_route(route, team, now));
    }

    pub(super) fn used(&mut self, now: Moment) -> u32 {
        self.each(|desk| desk.used(now))
    }

    pub(super) fn held(&mut self, whose: &Whose) -> Credits {
        self.each(|desk| desk.held(whose))
    }

    pub(super) fn next(&mut self, now: Moment) -> Option<Moment> {
        self.one().next(now)
    }

    pub(super) fn has_waiting(&mut self) -> bool {
        self.each(|desk| desk.has_waiting())
    }

    pub(super) fn waiting(&mut self) -> usize {
        self.each(|desk| desk.turns.waiting)
    }
}
