//! The replay: time goes from one event to the next, and the desk is told and asked as a gateway does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::arrivals::{Arrivals, Comes, Job, Known, evenly};
use super::desk::{Event, Later, Running, code_of, opened};
use super::outcome::{Course, OfTeam, Plan};
use super::team::{Pooled, Team, Usual};
use super::terms::Terms;
use super::traffic::Traffic;
use crate::books::learned::{self, Learned};
use crate::config::Config;
use crate::credits::budget::Whose;
use crate::credits::period::Period;
use crate::desk::{ARRIVAL, Ask, BookedOn, Desk, Granted, Moment, Outcome, Refused, Tick, Ticket, Verdict};
use crate::refuse::Code;
use crate::route::Route;

/// What a configuration would have made of some traffic, so many times as much of it.
#[must_use]
pub fn plan(config: &Config, traffic: &Traffic, rate: f64) -> Plan {
    Replay::new(config, traffic, rate).run()
}

struct Replay<'t> {
    config: &'t Config,
    traffic: &'t Traffic,
    rate: f64,
    zone: &'t TimeZone,
    /// In the order of their names.
    teams: Vec<Team>,
    usual: Usual,
    learned: Learned,
    desk: Desk,
    now: Moment,
    day_ends: Moment,
    later: BinaryHeap<Reverse<Later>>,
    came_in: u64,
    waiting: HashMap<Ticket, Known>,
    /// Teams with refusals that have met no limit yet.
    pools: Vec<usize>,
    courses: BTreeMap<usize, Course>,
    rests_on: u64,
    rests_on_served: u64,
    /// Who came among others is booked on no key.
    no_key: Arc<str>,
}

impl<'t> Replay<'t> {
    fn new(config: &'t Config, traffic: &'t Traffic, rate: f64) -> Self {
        let zone = &config.credits.zone;
        let today = traffic.first_day(zone);
        let day_ends = traffic.moment(Period::Day.resets(today, zone));
        let desk = opened(config, traffic, today, day_ends);
        let mut teams: BTreeMap<Arc<str>, Team> = BTreeMap::new();
        for team in &config.teams {
            let held_to = Terms::of(config, team);
            let name = Arc::clone(&held_to.name);
            teams.insert(Arc::clone(&name), Team { name, terms: Some(held_to), ..Team::default() });
        }
        let called = traffic.past.calls.iter().map(|call| &call.team);
        for name in called.chain(traffic.past.asks.iter().map(|asks| &asks.team)) {
            teams
                .entry(Arc::clone(name))
                .or_insert_with(|| Team { name: Arc::clone(name), ..Team::default() });
        }
        Self {
            config,
            traffic,
            rate,
            zone,
            teams: teams.into_values().collect(),
            usual: Usual::of(&traffic.past),
            learned: Learned::default(),
            desk,
            now: Moment::ZERO,
            day_ends,
            later: BinaryHeap::new(),
            came_in: 0,
            waiting: HashMap::new(),
            pools: Vec::new(),
            courses: BTreeMap::new(),
            rests_on: 0,
            rests_on_served: 0,
            no_key: "".into(),
        }
    }

    fn run(mut self) -> Plan {
        for (index, team) in self.teams.iter().enumerate() {
            if let Some(budget) = team.terms.as_ref().and_then(|terms| terms.budget) {
                let (credits, period) = (budget.credits, budget.period.noun());
                let course = Course { credits, period, days: Vec::new(), short_from: None };
                self.courses.insert(index, course);
            }
        }
        let mut arrivals = Arrivals::of(self.traffic, &mut self.teams, self.rate);
        loop {
            let turn = self.desk.next(self.now).map(|at| at.max(self.now));
            let times = [
                self.later.peek().map(|Reverse(later)| later.at),
                turn,
                arrivals.next_at().map(|at| at.max(self.now)),
            ];
            let Some(at) = times.into_iter().flatten().min() else { break };
            if self.day_ends <= at {
                self.roll();
                continue;
            }
            self.now = at;
            if times[0] == Some(at) {
                if let Some(Reverse(later)) = self.later.pop() {
                    self.happens(later.event);
                }
            } else if turn == Some(at) {
                self.turn();
            } else if let Some(comes) = arrivals.next() {
                self.comes(comes);
            }
        }
        self.finish()
    }

    /// Another day begins.
    fn roll(&mut self) {
        self.now = self.now.max(self.day_ends);
        self.note_courses();
        let today = Period::Day.next(self.desk.today());
        self.day_ends = self.traffic.moment(Period::Day.resets(today, self.zone));
        self.desk.roll(today, self.day_ends);
        self.turn();
    }

    /// Where each team's budget stands at the end of a day.
    fn note_courses(&mut self) {
        let today = self.desk.today();
        for (index, team) in self.teams.iter().enumerate() {
            let Some(budget) = team.terms.as_ref().and_then(|terms| terms.budget) else { continue };
            let tally = self.desk.tally(&Whose::Team(Arc::clone(&team.name)), budget);
            if let Some(course) = self.courses.get_mut(&index) {
                course.credits = tally.whole;
                course.days.push((today, tally.used));
            }
        }
    }

    fn comes(&mut self, comes: Comes) {
        match comes {
            Comes::Call(known, route, key_id) => self.asks(known, route, &key_id),
            Comes::Free(team, route) => self.asks(Known::free(team), route, &Arc::clone(&self.no_key)),
            Comes::Malformed(team, route, code) => {
                let of_team = &mut self.teams[team];
                match of_team.take(route, self.now) {
                    Ok(()) => {
                        of_team.in_flight -= 1;
                        of_team.would.refused_as(&code, 1);
                    }
                    Err(code) => of_team.would.refused(code.as_str(), 1),
                }
            }
            Comes::SecondBegins(refused) => {
                for (team, pooled) in refused {
                    self.rests_on += u64::from(pooled.count);
                    if self.teams[team].pool.is_empty() {
                        self.pools.push(team);
                    }
                    self.teams[team].pool.push(pooled);
                }
            }
            Comes::SecondEnds => return self.pools_ask(),
        }
        self.meet_limits();
    }

    /// A call asks, and takes of all limits there are.
    fn asks(&mut self, known: Known, route: Route, key_id: &Arc<str>) {
        let of_team = &mut self.teams[known.team];
        if let Err(code) = of_team.take(route, self.now) {
            return of_team.would.refused(code.as_str(), 1);
        }
        let Some(ask) = self.ask_of(known.team, route, key_id) else { return };
        match self.desk.ask(ask, self.now) {
            Verdict::Granted(granted) => self.goes(known, granted),
            Verdict::Waits(ticket) => {
                self.waiting.insert(ticket, known);
                self.turn();
            }
            Verdict::Refused(refused) => {
                let Refused { ask, no } = *refused;
                self.is_refused(known.team, code_of(&no, &ask));
            }
        }
    }

    fn ask_of(&mut self, team: usize, route: Route, key_id: &Arc<str>) -> Option<Ask> {
        let learned = &mut self.learned;
        let usual = learned::reserve(&self.config.credits, route, |unlearned, floor| {
            learned.reserve(unlearned, floor, route)
        });
        Some(self.teams[team].terms.as_mut()?.ask(key_id, route, usual))
    }

    fn is_refused(&mut self, team: usize, code: Code) {
        let of_team = &mut self.teams[team];
        of_team.in_flight = of_team.in_flight.saturating_sub(1);
        of_team.would.refused(code.as_str(), 1);
        self.note_short(team, code);
    }

    fn note_short(&mut self, team: usize, code: Code) {
        if code == Code::BudgetExceeded
            && let Some(course) = self.courses.get_mut(&team)
        {
            let at = self.traffic.since.saturating_add(self.now).unwrap_or(self.traffic.until);
            course.short_from.get_or_insert(at);
        }
    }

    /// A call is let through, and written at once.
    fn goes(&mut self, known: Known, granted: Box<Granted>) {
        let now = self.now;
        let team = &granted.ask.team;
        self.desk.sent(team, granted.tick, now, now);
        let tally = &mut self.teams[known.team].would;
        if granted.ask.costs {
            tally.served(now.saturating_sub(granted.joined), known.spent);
        } else {
            tally.free(1);
        }
        self.rests_on_served += u64::from(known.was_refused);
        // When the upstream begins to answer is not known, but that it has by the end, and that later is all the same.
        let (team, tick) = (Arc::clone(team), Tick::sent(now));
        self.push(now + known.ran.min(ARRIVAL), Event::Answered { team, tick });
        self.push(now + known.ran, Event::Ends(Box::new(Running { known, granted })));
    }

    fn push(&mut self, at: Moment, event: Event) {
        self.came_in += 1;
        self.later.push(Reverse(Later { at, number: self.came_in, event }));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Answered { team, tick } => self.desk.answered(&team, tick, self.now, self.now),
            Event::Ends(running) => self.ends(*running),
            Event::JobEnds { team, route } => self.desk.free_route(route.index(), &team, self.now),
            Event::Asks(team, route) => {
                let reserve = route.row().reserve;
                let (ran, spent) = self.usual.call(&self.teams[team].name, route, reserve);
                let known = Known { team, ran, spent, job: Job::None, was_refused: true };
                return self.asks(known, route, &Arc::clone(&self.no_key));
            }
        }
        self.turn();
    }

    fn ends(&mut self, Running { known, granted }: Running) {
        let Granted { ask, day, .. } = &*granted;
        let of_team = &mut self.teams[known.team];
        of_team.in_flight = of_team.in_flight.saturating_sub(1);
        let route = Route::all().nth(ask.route);
        if ask.costs {
            let on = BookedOn { team: &ask.team, key_id: &ask.key_id, route: Some(ask.route) };
            self.desk.end(*day, on, ask.reserve, known.spent);
            if let Some(route) = route {
                self.learned.cost(route, known.spent);
            }
        }
        let Some(route) = route.filter(|_| ask.cap.is_some()) else { return };
        match known.job {
            Job::None => self.desk.free_route(route.index(), &ask.team, self.now),
            Job::NeverSeenToEnd => {}
            Job::GoesOn(goes_on) => {
                let team = Arc::clone(&ask.team);
                self.push(self.now + goes_on, Event::JobEnds { team, route });
            }
        }
    }

    /// Those whose turn it is go; those whose time is up are refused.
    fn turn(&mut self) {
        if !self.desk.has_waiting() {
            return;
        }
        for Outcome { ticket, verdict, .. } in self.desk.turn(self.now) {
            let Some(known) = self.waiting.remove(&ticket) else { continue };
            match verdict {
                Ok(granted) => self.goes(known, granted),
                Err(refused) => self.is_refused(known.team, code_of(&refused.no, &refused.ask)),
            }
        }
    }

    /// What was refused in this second is held against the limits as they stand now.
    fn meet_limits(&mut self) {
        let mut pools = std::mem::take(&mut self.pools);
        pools.retain(|team| {
            let pool = std::mem::take(&mut self.teams[*team].pool);
            let left = pool.into_iter().filter(|pooled| !self.meets_a_limit(*team, pooled)).collect();
            self.teams[*team].pool = left;
            !self.teams[*team].pool.is_empty()
        });
        self.pools = pools;
    }

    /// Whether a limit is in the way of calls that were refused for one.
    fn meets_a_limit(&mut self, team: usize, pooled: &Pooled) -> bool {
        let now = self.now;
        let own = self.teams[team].in_the_way(pooled, now);
        let is_desks = ![Code::RateLimitExceeded, Code::ConcurrencyLimitExceeded, Code::RouteNotAllowed]
            .iter()
            .any(|code| *pooled.code == *code.as_str());
        let Some(code) = own.or_else(|| is_desks.then(|| self.desks_limit(team, pooled.route)).flatten())
        else {
            return false;
        };
        if is_desks && own.is_none() {
            // The desk has seen them.
            self.desk_sees(team, pooled.route);
        }
        let of_team = &mut self.teams[team];
        if code != Code::RateLimitExceeded && code != Code::RouteNotAllowed {
            // They had passed the rate, and taken of it.
            for _ in 0..pooled.count {
                if let Some(terms) = of_team.terms.as_ref().filter(|_| !of_team.is_too_often(now)) {
                    of_team.full_at = of_team.full_at.max(now) + terms.period;
                }
            }
        }
        of_team.would.refused(code.as_str(), pooled.count.into());
        self.note_short(team, code);
        true
    }

    /// Why the desk would refuse a call at once, if it would.
    fn desks_limit(&mut self, team: usize, route: Route) -> Option<Code> {
        let ask = self.ask_of(team, route, &Arc::clone(&self.no_key))?;
        let is_short = ask.budgets.0.iter().any(|(whose, budget)| {
            let tally = self.desk.tally(whose, *budget);
            tally.left() < ask.reserve && !tally.would_fit_without_holds(ask.reserve)
        });
        if is_short {
            return Some(Code::BudgetExceeded);
        }
        self.desk.look(&ask, self.now).refused.map(|no| code_of(&no, &ask))
    }

    /// A call asks the desk, in vain.
    fn desk_sees(&mut self, team: usize, route: Route) {
        let Some(ask) = self.ask_of(team, route, &Arc::clone(&self.no_key)) else { return };
        let name = Arc::clone(&ask.team);
        match self.desk.ask(ask, self.now) {
            Verdict::Waits(ticket) => drop(self.desk.leave(&name, ticket, self.now)),
            Verdict::Refused(_) | Verdict::Granted(_) => {}
        }
    }

    /// What no limit was in the way of in its second asks in earnest: at once, where it had waited, and else evenly over the next.
    fn pools_ask(&mut self) {
        for team in std::mem::take(&mut self.pools) {
            for Pooled { route, code, count } in std::mem::take(&mut self.teams[team].pool) {
                let had_waited =
                    [Code::UpstreamWindowFull, Code::CreditsHeld].map(Code::as_str).contains(&&*code);
                let at_once = had_waited.then(|| std::iter::repeat_n(self.now, count as usize));
                let over_the_next = (!had_waited).then(|| evenly(self.now, count));
                for at in at_once.into_iter().flatten().chain(over_the_next.into_iter().flatten()) {
                    self.push(at, Event::Asks(team, route));
                }
            }
        }
    }

    fn finish(mut self) -> Plan {
        self.note_courses();
        let (mut courses, mut asked) = (self.courses, 0);
        let teams = self.teams.into_iter().enumerate().map(|(index, team)| {
            let was = team.was.sum();
            asked += was.asked;
            let budget = courses.remove(&index);
            OfTeam { team: team.name.to_string(), was, would: team.would.sum(), budget }
        });
        let teams = teams.collect();
        Plan {
            since: self.traffic.since,
            until: self.traffic.until,
            rate: self.rate,
            asked,
            rests_on: self.rests_on,
            rests_on_served: self.rests_on_served,
            in_force_differs: 0,
            teams,
        }
    }
}
