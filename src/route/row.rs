//! What is known of a route: a row of the table, and what it can say.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::Method;

use super::query::Parameter;
use super::rule::Rule;
use super::thing::Thing;
use crate::credits::Credits;
use crate::meter::Figures;

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
    pub query: &'static [Parameter],
    /// What its body must be: the rules of a JSON object. Without, a body has no meaning and goes nowhere (RFC 9110 §9.3.1).
    pub body: Option<&'static [Rule]>,
    /// What it costs.
    pub cost: Cost,
    /// Where its answer says so.
    pub figures: Figures,
    /// What a call holds unless configured otherwise: the most that it is documented to cost.
    pub reserve: Credits,
    /// Whether that is learned from what calls cost.
    pub learns: Learns,
    /// How many the upstream takes at the same time of the whole organisation: calls, or, where calls start jobs, jobs.
    pub cap: Option<NonZeroUsize>,
    /// How long the head of its answer may take, where that is less than configured.
    pub first_byte: Option<Duration>,
    /// A call without an `Idempotency-Key` is refused: made twice by mistake it would cost too much.
    pub requires_key: bool,
    /// Whose ids it names.
    pub ids: Ids,
    /// What its answer's id names, which belongs to the caller's team from then on.
    pub makes: Option<Thing>,
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
    /// Another key in place of the one that is shown.
    RotateKey,
}

/// Whether a call costs credits, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing (source: Mavera's credit guide, of reads).
    Free,
    /// As many as its answer says.
    InAnswer,
    /// This many, unless its answer says otherwise.
    Fixed(Credits),
    /// It starts a job, which goes on behind the answer and costs something in this range (source: Mavera's credit guide).
    /// How much is known later, if ever.
    Job(RangeInclusive<Credits>),
}

/// Whether what calls of a route hold is learned from what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learns {
    /// Never: it is exact, or so dear that too little is worse than too much.
    Never,
    /// As `credits.reserve` says, which is of chats.
    AsConfigured,
    /// Always, and never less than this.
    From(Credits),
}

/// Whose ids a route names, which a team may be kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Nobody's.
    None,
    /// The one in its path.
    One(Thing),
    /// Everything of the organisation, in its answer.
    All(Thing),
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

    /// The range that a job of it costs; nothing where it starts none.
    #[must_use]
    pub fn job(&self) -> Option<&RangeInclusive<Credits>> {
        match &self.cost {
            Cost::Job(range) => Some(range),
            _ => None,
        }
    }

    /// Whether it is a read at the upstream: asked twice within a moment, it is answered the same.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.is_upstream() && self.method == Method::GET
    }
}
