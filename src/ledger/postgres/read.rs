//! Reading the database, also while gateways write it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::{Client, Error};

use super::blocking::Blocking;
use super::connect::{Server, Session};
use super::{changes, keys, past, recent, statement, sums, verify};
use crate::credits::Credits;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::Booked;
use crate::ledger::keys::{CallerUse, RegisteredKey};
use crate::ledger::past::Past;
use crate::ledger::reading::Reading;
use crate::ledger::rows::{Changes, Charge, EnteredGrant, Found, Saving, Search, Span, Spend};
use crate::ledger::statement::Stated;
use crate::ledger::view::{View, Viewed};

/// A read-only view of the ledger.
#[derive(Debug)]
pub(super) struct Reader {
    session: Blocking,
}

impl Reader {
    /// Opens the ledger for reading.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn open(server: &Server) -> Result<Self, LedgerError> {
        Ok(Self { session: Blocking::open(server, Session::Reports)? })
    }
}

impl Reading for Reader {
    fn spends(&self, span: Span) -> Result<Vec<Spend>, LedgerError> {
        self.session.ask(async |client| sums::spends(client, span).await)
    }

    fn booked_between(&self, since: Timestamp, until: Timestamp) -> Result<(Credits, Credits), LedgerError> {
        if since >= until {
            return Ok((Credits::ZERO, Credits::ZERO));
        }
        self.session.ask(async |client| sums::booked_between(client, since, until).await)
    }

    fn view(&self, view: &View) -> Result<Viewed, LedgerError> {
        self.session.ask(async |client| {
            Ok::<_, Error>(Viewed {
                spent: sums::spent(client, view).await?,
                periods: [
                    sums::sum(client, view.periods[0]).await?,
                    sums::sum(client, view.periods[1]).await?,
                ],
                uses: sums::uses(client, view.span).await?,
                grants: changes::entered_grants(client, view.grants).await?,
                found: recent::calls(client, &view.search).await?,
            })
        })
    }

    fn savings(&self, span: Span) -> Result<Vec<Saving>, LedgerError> {
        self.session.ask(async |client| sums::savings(client, span).await)
    }

    fn recent_charges(&self, team: &str, count: usize) -> Result<Vec<Charge>, LedgerError> {
        self.session.ask(async |client| recent::charges(client, team, count).await)
    }

    fn calls(&self, search: &Search) -> Result<Found, LedgerError> {
        self.session.ask(async |client| recent::calls(client, search).await)
    }

    fn booked_by_response(&self) -> Result<BTreeMap<String, Booked>, LedgerError> {
        let answered = self.session.ask(sums::answered)?;
        Ok(answered.into_iter().map(|booked| (booked.response_id.clone(), booked)).collect())
    }

    fn doubt(&self, request_id: Option<&str>, count: usize) -> Result<Vec<(Booked, String)>, LedgerError> {
        self.session.ask(async |client| sums::doubt(client, request_id, count).await)
    }

    fn in_doubt(&self) -> Result<Credits, LedgerError> {
        self.session.ask(sums::in_doubt)
    }

    fn changes(&self, day: Date, seq: i64) -> Result<Changes, LedgerError> {
        self.session.ask(async |client| changed(client, day, seq).await)
    }

    fn grants_of_all(&self, day: Date) -> Result<Vec<EnteredGrant>, LedgerError> {
        self.session.ask(async |client| changes::entered_grants(client, day).await)
    }

    fn keys(&self) -> Result<Vec<RegisteredKey>, LedgerError> {
        self.session.ask(keys::all)
    }

    fn uses(&self, span: Span) -> Result<Vec<CallerUse>, LedgerError> {
        self.session.ask(async |client| sums::uses(client, span).await)
    }

    fn stated(&self, team: &str, span: Span) -> Result<Stated, LedgerError> {
        self.session.ask(async |client| statement::of(client, team, span).await)
    }

    fn past(&self, since: Timestamp, until: Timestamp) -> Result<Past, LedgerError> {
        self.session.ask(async |client| past::between(client, since, until).await)
    }

    fn version(&self) -> Result<i64, LedgerError> {
        self.session.ask(version)
    }

    fn verify(&self) -> Result<Vec<String>, LedgerError> {
        self.session.ask(verify::verify)
    }
}

async fn changed(client: &Client, day: Date, seq: i64) -> Result<Changes, Error> {
    let (grants, adjusted) =
        (changes::grants(client, day).await?, changes::adjusted_after(client, seq).await?);
    Ok(Changes { grants, adjusted })
}

/// Whatever writes gives one of these numbers, and behind a lock: none of them falls, and none is given before one that
/// is seen later.
async fn version(client: &Client) -> Result<i64, Error> {
    let sum = "SELECT (SELECT turn FROM gate) + (SELECT coalesce(max(seq), 0) FROM changes)
                 + (SELECT coalesce(max(seq), 0) FROM key_events)";
    client.query_one(sum, &[]).await?.try_get(0)
}
