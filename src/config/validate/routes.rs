//! Which routes a team may use, and what is special about some of them.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use super::validator::Validator;
use crate::config::team::OfRoute;
use crate::config::team_route::{RouteTable, TeamRoute};
use crate::config::values::CreditsText;
use crate::credits::Credits;
use crate::route::{Route, Routes};

/// The routes that a team can be kept from.
fn upstream() -> impl Iterator<Item = Route> {
    Route::all().filter(|route| route.row().is_upstream())
}

impl Validator<'_, '_> {
    pub(super) fn routes(&mut self, key: &str, entries: Option<Vec<TeamRoute>>) -> (Routes, Vec<OfRoute>) {
        let Some(entries) = entries else { return (Routes::usual(), Vec::new()) };
        let (mut routes, mut of_routes) = (Routes::NONE, Vec::new());
        let mut named = HashSet::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let at = format!("{key}[{index}]");
            let (name, table) = match entry {
                TeamRoute::Name(name) if name == "*" => {
                    routes = routes.and(Routes::everyday());
                    continue;
                }
                TeamRoute::Name(name) => (name, None),
                TeamRoute::Table(table) => {
                    let name = self.required(&format!("{at}.name"), table.name.clone(), "name a route");
                    (name, Some(table))
                }
                TeamRoute::Wrong => {
                    self.problems.add(&at, "is no route", "write its name, or a table with its `name`");
                    continue;
                }
            };
            let Some(route) = upstream().find(|route| route.label() == name) else {
                let known: Vec<_> = upstream().map(Route::label).collect();
                let alike = known
                    .iter()
                    .copied()
                    .max_by(|a, b| strsim::jaro_winkler(a, &name).total_cmp(&strsim::jaro_winkler(b, &name)));
                let meant = alike.filter(|alike| strsim::jaro_winkler(alike, &name) > 0.8);
                let remedy = match meant {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("write \"*\", or some of {}", known.join(", ")),
                };
                if !name.is_empty() {
                    self.problems.add(&at, format!("{name:?} is not a route"), remedy);
                }
                continue;
            };
            if !named.insert(route) {
                self.problems.add(&at, format!("{name:?} is there twice"), "leave one of them out");
            }
            routes = routes.with(route);
            if let Some(table) = table {
                of_routes.push(self.of_route(&at, route, table));
            }
        }
        (routes, of_routes)
    }

    fn of_route(&mut self, at: &str, route: Route, table: RouteTable) -> OfRoute {
        let RouteTable { name: _, budget, jobs, reserve } = table;
        let (row, label) = (route.row(), route.label());
        let free = format!("calls of {label} cost nothing");
        if budget.is_some() && !row.costs() {
            self.problems.add(&format!("{at}.budget"), free.clone(), "leave it out");
        }
        let budget = self.budget(&format!("{at}.budget"), budget);
        let key = format!("{at}.jobs");
        let jobs = match (jobs.0.is_some(), row.cap) {
            (false, _) => None,
            (true, None) => {
                let why = format!("Mavera takes as many calls of {label} at once as come");
                self.problems.add(&key, why, "leave it out; `concurrency` bounds all calls of a team");
                None
            }
            (true, Some(cap)) => {
                let most = u32::try_from(cap.get()).unwrap_or(u32::MAX);
                NonZeroUsize::new(self.number(&key, jobs, most, 1..=most) as usize)
            }
        };
        let key = format!("{at}.reserve");
        let reserve = reserve.0.is_some().then(|| {
            let amount = self.value(&key, reserve, CreditsText(row.reserve), "").0;
            if !row.costs() {
                self.problems.add(&key, free, "leave it out");
            } else if amount == Credits::ZERO {
                // Nothing would be held, and no budget would bind.
                self.problems.add(
                    &key,
                    "is nothing",
                    format!("use more than 0, and {} at the most", row.reserve),
                );
            } else if amount > row.reserve {
                let why = format!("{amount} credits are more than a call of {label} is documented to cost");
                self.problems.add(&key, why, format!("use {} or less", row.reserve));
            }
            amount
        });
        OfRoute { route, budget, jobs, reserve }
    }
}
