//! The table of routes. A new one is a row here, and its cases in `tests/routes.rs`, which fail without them.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::Method;

use super::schema::{Kind, Rule};
use crate::credits::Credits;

/// All that is known of a route.
#[derive(Debug)]
pub struct Row {
    /// Name in metrics, logs, the ledger and `routes` of a team.
    pub label: &'static str,
    /// The one method it is for.
    pub method: Method,
    /// Its path, `{id}` in place of what varies; the same as upstream, so that a base URL is all that changes.
    pub template: &'static str,
    /// Who answers.
    pub class: Class,
    /// Query parameters that it takes, each once at most.
    pub query: &'static [&'static str],
    /// What its body must be: the rules of a JSON object. Without, a body has no meaning and goes nowhere (RFC 9110 §9.3.1).
    pub body: Option<&'static [Rule]>,
    /// Whether it costs, and where the figure stands.
    pub cost: Cost,
    /// What a call holds unless configured otherwise: the most that it is documented to cost.
    pub reserve: Credits,
    /// Calls that the upstream takes at the same time of the whole organisation.
    pub cap: Option<NonZeroUsize>,
    /// How long the head of its answer may take, where that is less than configured.
    pub first_byte: Option<Duration>,
    /// A call without an `Idempotency-Key` is refused: made twice by mistake it would cost too much.
    pub requires_key: bool,
    /// Whose ids it names.
    pub ids: Ids,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Mavera.
    Upstream,
    /// The gateway itself.
    Own(Own),
}

/// What the gateway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// How a caller stands.
    Me,
    /// Whether a call would be admitted.
    Explain,
}

/// Whether a call costs credits, and where its answer says how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing (source: Mavera's credit guide, of reads).
    Free,
    /// `usage.credits_used` of the answer.
    InAnswer,
}

/// Whose ids a route names, which a team may be kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Nobody's.
    None,
    /// The analysis in its path.
    Analysis,
    /// Every analysis of the organisation, in its answer.
    AllAnalyses,
}

/// Reads say soon what they have to say.
const READ: Duration = Duration::from_secs(30);

/// The documented rules of a chat, and no more: everything else is the upstream's to judge (source:
/// `chat-about-video-analysis` in Mavera's API reference).
const CHAT: &[Rule] = &[
    Rule::required(
        "messages",
        Kind::List { most: 50, one: "message", many: "messages", shorten: "leave out the oldest" },
    ),
    Rule::optional("messages[]", Kind::Object { with: "a `role`" }),
    Rule::required("messages[].role", Kind::Text),
    Rule::optional("messages[].content", Kind::Any),
    Rule::optional("stream", Kind::Flag),
];

/// What most routes have in common.
const PLAIN: Row = Row {
    label: "",
    method: Method::GET,
    template: "",
    class: Class::Upstream,
    query: &[],
    body: None,
    cost: Cost::Free,
    reserve: Credits::ZERO,
    cap: None,
    first_byte: Some(READ),
    requires_key: false,
    ids: Ids::None,
};

/// Every route there is: the call that is paid for, what a caller needs to find the id to ask about, and what is answered
/// here.
static TABLE: [Row; 5] = [
    Row {
        label: "video_chat",
        method: Method::POST,
        template: "/api/v1/video-analyses/{id}/chat",
        body: Some(CHAT),
        cost: Cost::InAnswer,
        reserve: Credits::whole(5),
        first_byte: None,
        ids: Ids::Analysis,
        ..PLAIN
    },
    Row {
        label: "video_list",
        template: "/api/v1/video-analyses",
        // Source: `list-video-analyses` in Mavera's API reference.
        query: &["limit", "offset", "status"],
        ids: Ids::AllAnalyses,
        ..PLAIN
    },
    Row { label: "video_get", template: "/api/v1/video-analyses/{id}", ids: Ids::Analysis, ..PLAIN },
    Row { label: "me", template: "/gateway/v1/me", class: Class::Own(Own::Me), ..PLAIN },
    Row {
        label: "explain",
        method: Method::POST,
        template: "/gateway/v1/explain",
        class: Class::Own(Own::Explain),
        ..PLAIN
    },
];

/// A route: its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route(u8);

impl Route {
    /// How many there are.
    pub const COUNT: usize = TABLE.len();

    /// All of them, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the table has far fewer rows")]
        (0..Self::COUNT).map(|at| Self(at as u8))
    }

    /// The route of that name.
    #[must_use]
    pub fn named(label: &str) -> Option<Self> {
        Self::all().find(|route| route.label() == label)
    }

    /// What is known of it.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &TABLE[usize::from(self.0)]
    }

    /// Its place in the table.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Name in metrics, logs and the ledger.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.row().label
    }

    /// The route that `explain` judges bodies for: the one that is paid for.
    #[must_use]
    pub fn explained() -> Self {
        Self(0)
    }
}

/// Some of the routes that go to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routes(u64);

const _: () = assert!(TABLE.len() <= 64, "a route is a bit");

impl Routes {
    /// None.
    pub const NONE: Self = Self(0);

    /// What a team may use unless it says otherwise: the chat about a video, and what it takes to find one.
    #[must_use]
    pub fn usual() -> Self {
        ["video_chat", "video_list", "video_get"]
            .into_iter()
            .filter_map(Route::named)
            .fold(Self::NONE, Self::with)
    }

    /// What `"*"` stands for: all but what is dear enough to be named.
    #[must_use]
    pub fn everyday() -> Self {
        let everyday = Route::all().filter(|route| route.row().is_upstream() && route.row().is_everyday());
        everyday.fold(Self::NONE, Self::with)
    }

    /// These and another.
    #[must_use]
    pub fn with(self, route: Route) -> Self {
        Self(self.0 | 1 << route.0)
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether a route may be used: those that the gateway answers itself always.
    #[must_use]
    pub fn allow(self, route: Route) -> bool {
        !route.row().is_upstream() || self.0 & 1 << route.0 != 0
    }
}

impl Row {
    /// Whether calls of it cost credits.
    #[must_use]
    pub fn costs(&self) -> bool {
        self.cost != Cost::Free
    }

    /// Whether it goes to the upstream, and a team can be kept from it.
    #[must_use]
    pub fn is_upstream(&self) -> bool {
        self.class == Class::Upstream
    }

    /// Whether `"*"` in a team's `routes` covers it: not what is dear enough to be named.
    #[must_use]
    pub fn is_everyday(&self) -> bool {
        self.reserve < Credits::whole(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_by_name_and_by_method_and_path() {
        let rows: Vec<_> = Route::all().map(Route::row).collect();
        for (at, row) in rows.iter().enumerate() {
            for other in &rows[..at] {
                assert_ne!(row.label, other.label);
                assert_ne!((&row.method, row.template), (&other.method, other.template));
            }
            assert_eq!(row.costs(), row.reserve > Credits::ZERO, "{}: what costs is held", row.label);
            assert_eq!(row.template.contains("{id}"), row.ids == Ids::Analysis, "{}", row.label);
        }
        assert_eq!(Route::named(Route::explained().label()), Some(Route::explained()));
        assert_eq!(Route::named("other"), None);
    }
}
