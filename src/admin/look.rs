//! One look at everything: what is known in memory, and what the ledger says, read from one moment of it: `GET /credits/look`, and
//! its parts by name.

use std::time::Duration;

use http::request::Parts;
use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::answers::Denied;
use super::board::Board;
use super::callers::{self, Callers};
use super::grants::{self, Grants};
use super::overview::{self, Overview};
use super::query::Query;
use super::spend::{self, Buckets, OfPeriod, Spend};
use crate::credits::Credits;
use crate::credits::period::Period;
use crate::ledger::{Found, LedgerError, Reading, Reads, Room, Search, View, room};

/// The longest that the ledger is waited for: what is in memory is told sooner than a page gives up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Parts of what the ledger says that can be asked for alone.
pub(super) const PARTS: [&str; 4] = ["spend", "requests", "callers", "grants"];

/// Everything that the credits page shows.
#[derive(Serialize)]
pub(super) struct Look {
    overview: Overview,
    /// Whose it is asked for.
    #[serde(skip)]
    pub(super) of: Search,
    /// What is booked in memory and not in the ledger's tables yet, of all, in the running period.
    not_written: Option<Credits>,
    /// What the ledger says, or why it cannot be read.
    #[serde(flatten, serialize_with = "told")]
    pub(super) booked: Result<Booked, Denied>,
}

/// One of `booked` and `problem`, the other being null.
fn told<S: Serializer>(booked: &Result<Booked, Denied>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_map(Some(2))?;
    fields.serialize_entry("booked", &booked.as_ref().ok())?;
    fields.serialize_entry("problem", &booked.as_ref().err().map(Denied::error))?;
    fields.end()
}

/// What the ledger says, of one moment.
#[derive(Serialize)]
pub(super) struct Booked {
    /// When it was read.
    at: Timestamp,
    time_zone: String,
    this_period: OfPeriod,
    last_period: OfPeriod,
    /// Of the disk that the ledger, or its journal, is on.
    disk: Option<Room>,
    pub(super) spend: Spend,
    pub(super) requests: Found,
    callers: Callers,
    grants: Grants,
}

/// What somebody asks for by a query.
pub(super) struct Asked {
    view: View,
    buckets: Buckets,
}

impl Asked {
    /// By the query of a request; `calls` are listed unless that says otherwise.
    pub(super) fn of(head: &Parts, board: &Board, calls: usize) -> Result<Self, Denied> {
        let query = Query(head.uri.query().unwrap_or_default());
        let snapshot = board.live.current();
        let credits = &snapshot.config.credits;
        let today = board.today();
        let budget = credits.budget.map_or(Period::Month, |budget| budget.period);
        let view = query.view(today, &credits.zone, (spend::periods(budget, today), calls))?;
        Ok(Self { buckets: Buckets::of(view.span, query.per()?)?, view })
    }
}

impl Booked {
    /// One of [`PARTS`], with the moment that it is of.
    pub(super) fn part(&self, name: &str) -> Value {
        // Its types have no map with keys that are not text, which is all that could fail.
        let mut all = serde_json::to_value(self).unwrap_or_default();
        let (at, time_zone, mut part) = (all["at"].take(), all["time_zone"].take(), all[name].take());
        part["at"] = at;
        part["time_zone"] = time_zone;
        part
    }
}

/// Looks at everything.
pub(super) async fn at(board: &Board, reads: &Reads, asked: Asked) -> Look {
    let of = asked.view.search.clone();
    // The ledger first: what is in memory is never behind it then, but for what other gateways write.
    let booked = booked(board, reads, asked).await;
    let overview = overview::of(board);
    let used = overview.organisation.used;
    let not_written = booked.as_ref().ok().map(|booked| used.saturating_sub(booked.this_period.credits));
    Look { overview, of, not_written, booked }
}

/// Looks at what the ledger says.
pub(super) async fn booked(board: &Board, reads: &Reads, asked: Asked) -> Result<Booked, Denied> {
    let Asked { view, buckets } = asked;
    let folder = board.live.current().config.ledger.folder();
    let (viewed, disk, view) =
        read(reads, move |reading| Ok((reading.view(&view)?, room(&folder), view))).await?;
    let today = view.grants;
    let [running, last] = viewed.periods;
    Ok(Booked {
        at: board.now(),
        time_zone: overview::time_zone(board),
        this_period: OfPeriod::of(view.periods[0], running),
        last_period: OfPeriod::of(view.periods[1], last),
        disk,
        spend: spend::of(&buckets, (view.by, viewed.spent), today),
        requests: viewed.found,
        callers: callers::of(board, view.span, viewed.uses),
        grants: grants::of(board, viewed.grants),
    })
}

/// Reads the ledger, for so long at most.
pub(super) async fn read<T: Send + 'static>(
    reads: &Reads,
    look: impl FnOnce(&dyn Reading) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Denied> {
    match tokio::time::timeout(PATIENCE, reads.look(look)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot read the ledger for the credits page");
            Err(Denied::Unreadable)
        }
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            tracing::warn!(seconds, "the ledger does not answer the credits page");
            Err(Denied::Unreadable)
        }
    }
}
