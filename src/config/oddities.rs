//! What is valid, and surely not meant: told by `check`, at each start and at each reload.

use http::uri::Scheme;

use crate::credits::Credits as Amount;
use crate::credits::budget::Budget;
use crate::route::Route;

use super::team::Team;
use super::valid::{Config, Reserve};

/// What is valid, and surely not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// Of what.
    pub key: String,
    /// What follows from it, and how to mend it.
    pub message: String,
}

/// Whether a variable has a value.
#[must_use]
pub fn in_environment(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

impl Config {
    /// All that is valid and surely not meant; `is_set` tells which variables the environment has ([`in_environment`]).
    #[must_use]
    pub fn oddities(&self, is_set: impl Fn(&str) -> bool) -> Vec<Oddity> {
        let parts = [
            self.in_clear_text(),
            self.tokens_in_clear_text(),
            self.upstream_without_path(),
            self.proxy_of_the_environment(is_set),
        ];
        parts.into_iter().flatten().chain(self.too_small_budgets()).chain(self.too_large_budgets()).collect()
    }

    /// Whoever listens on the way reads callers' keys, unless a proxy that is known to the file ends TLS.
    fn in_clear_text(&self) -> Option<Oddity> {
        let server = &self.server;
        let is_open =
            server.tls.is_none() && !server.listen.ip().is_loopback() && server.trusted_proxies.is_empty();
        is_open.then(|| Oddity {
            key: "server.listen".to_owned(),
            message: format!(
                "keys and answers cross the network to {} in clear text; set `server.tls`, or name what ends TLS in front in \
                 `server.trusted_proxies`",
                server.listen
            ),
        })
    }

    /// Whoever listens on the way reads the token that opens the figures, or makes keys.
    fn tokens_in_clear_text(&self) -> Option<Oddity> {
        let admin = &self.admin;
        let has_token = admin.token.is_some() || admin.keys_token.is_some() || !admin.operators.is_empty();
        let is_open = has_token && admin.tls.is_none() && !admin.listen.ip().is_loopback();
        is_open.then(|| Oddity {
            key: "admin.listen".to_owned(),
            message: format!(
                "operators' tokens cross the network to {} in clear text; set `admin.tls`, or listen on loopback behind what ends \
                 TLS",
                admin.listen
            ),
        })
    }

    /// Whoever sets it expects that what goes out goes there, as of other programs.
    fn proxy_of_the_environment(&self, is_set: impl Fn(&str) -> bool) -> Option<Oddity> {
        let name =
            ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find(|name| is_set(name))?;
        let is_concerned =
            self.upstream.proxy.is_none() && self.upstream.base_url.scheme() == Some(&Scheme::HTTPS);
        is_concerned.then(|| Oddity {
            key: "upstream.proxy".to_owned(),
            message: format!(
                "{name} is set in the environment and not heeded: what goes out goes directly. Write `upstream.proxy` if it has to \
                 go through a proxy, or unset {name}"
            ),
        })
    }

    fn upstream_without_path(&self) -> Option<Oddity> {
        let base = &self.upstream.base_url;
        matches!(base.path(), "" | "/").then(|| Oddity {
            key: "upstream.base_url".to_owned(),
            message: format!("{base} has no path, and Mavera's API is at `/api/v1`; add it"),
        })
    }

    /// Budgets below what a call holds: they admit no call at all. One of nothing says that it is meant.
    fn too_small_budgets(&self) -> Vec<Oddity> {
        let reserve = match self.credits.reserve {
            Reserve::Fixed(amount) => amount,
            Reserve::Learned { floor } => floor,
        };
        let of_team = |team: &Team| {
            let own = [(format!("the budget of team {}", team.name), team.budget, reserve)];
            let keys =
                team.keys.iter().map(|key| (format!("the budget of key {}", key.id), key.budget, reserve));
            let members = team.members.iter();
            let members = members.map(|of| (format!("the budget of member {}", of.id), of.budget, reserve));
            let routes = team.of_routes.iter().flat_map(|of_route| {
                let key = format!("the budget of team {} for {}", team.name, of_route.route.label());
                let holds = of_route.reserve.unwrap_or(of_route.route.row().reserve);
                let dear = team.budget.filter(|_| !of_route.route.row().is_everyday());
                [(key.clone(), of_route.budget, holds), (key, dear, holds)]
            });
            // What is dear and named was surely meant to be used.
            let dear = Route::all().filter(|route| {
                team.routes.allow(*route) && !route.row().is_everyday() && team.of_route(*route).is_none()
            });
            let dear = dear.map(|route| {
                let key = format!("the budget of team {} for {}", team.name, route.label());
                (key, team.budget, route.row().reserve)
            });
            own.into_iter().chain(keys).chain(members).chain(routes).chain(dear).collect::<Vec<_>>()
        };
        let budgets = [("credits.budget".to_owned(), self.credits.budget, reserve)]
            .into_iter()
            .chain(self.teams.iter().flat_map(of_team));
        let odd = budgets.filter_map(|(key, budget, reserve)| {
            let credits = budget?.credits;
            let message = format!(
                "{credits} credits are less than the {reserve} that a call holds, so no call is ever admitted; raise it, or \
                 lower what is held (0 says that nothing is to be spent)"
            );
            (credits > Amount::ZERO && credits < reserve).then_some(Oddity { key, message })
        });
        odd.collect()
    }

    /// Budgets that can never be spent, because what they are a part of ends before.
    fn too_large_budgets(&self) -> Vec<Oddity> {
        let above = |budget: Option<Budget>, whole: Option<Budget>, key: String, whose: &str| {
            let (budget, whole) = (budget?, whole?);
            let message = format!(
                "{} credits a {} are more than the {} of {whose}, which end first; lower it, or raise those",
                budget.credits,
                budget.period.noun(),
                whole.credits
            );
            let is_more = budget.period == whole.period && budget.credits > whole.credits;
            is_more.then_some(Oddity { key, message })
        };
        let of_team = |team: &Team| {
            let (of_team, whole) = (team.budget, self.credits.budget);
            let first =
                above(of_team, whole, format!("the budget of team {}", team.name), "the organisation");
            // What binds them: their team's, or else everybody's.
            let (around, owner) = match of_team {
                Some(_) => (of_team, "its team"),
                None => (whole, "the organisation"),
            };
            let keys = team.keys.iter().map(|key| (key.budget, format!("the budget of key {}", key.id)));
            let members =
                team.members.iter().map(|of| (of.budget, format!("the budget of member {}", of.id)));
            let routes = team
                .of_routes
                .iter()
                .map(|of| (of.budget, format!("the budget of team {} for {}", team.name, of.route.label())));
            let parts = keys.chain(members).chain(routes);
            let parts = parts.filter_map(|(budget, key)| above(budget, around, key, owner));
            first.into_iter().chain(parts).collect::<Vec<_>>()
        };
        self.teams.iter().flat_map(of_team).collect()
    }
}
