//! What others have written beside calls: grants and corrections.

use jiff::civil::Date;
use tokio_postgres::{Client, Error, Row};

use super::columns::{credits, day};
use crate::credits::budget::Grant;
use crate::ledger::entry::days_since_epoch;
use crate::ledger::rows::{Adjusted, EnteredGrant};

/// Grants that end on `day` or later, and those that were taken back.
pub(super) async fn grants(client: &Client, day: Date) -> Result<Vec<Grant>, Error> {
    Ok(entered_grants(client, day).await?.into_iter().map(|entered| entered.grant).collect())
}

/// The same, as they stand in the ledger. One that was taken back has an entry of as much less, under its number, on the
/// day when that was done.
pub(super) async fn entered_grants(client: &Client, since: Date) -> Result<Vec<EnteredGrant>, Error> {
    let rows = client
        .query(
            "SELECT given.team, given.credits, given.day, coalesce(back.day, given.until), given.seq,
                    coalesce(given.reason, ''), back.day IS NOT NULL
             FROM changes given LEFT JOIN changes back ON back.kind = 'granted' AND back.call = given.seq
             WHERE given.kind = 'granted' AND given.call IS NULL AND given.until >= $1 ORDER BY given.seq",
            &[&days_since_epoch(since)],
        )
        .await?;
    let entered = |row: &Row| {
        Ok(EnteredGrant {
            grant: Grant {
                team: row.try_get(0)?,
                credits: credits(row, 1)?,
                from: day(row, 2)?,
                until: day(row, 3)?,
                taken_back: row.try_get(6)?,
            },
            number: row.try_get(4)?,
            why: row.try_get(5)?,
        })
    };
    rows.iter().map(entered).collect()
}

/// Corrections by an operator's hand behind a number: what gateways have found out of jobs is in their turns.
pub(super) async fn adjusted_after(client: &Client, seq: i64) -> Result<Vec<Adjusted>, Error> {
    let rows = client
        .query(
            "SELECT seq, call, day, team, key_id, route, credits FROM changes
             WHERE kind = 'adjusted' AND basis IS NULL AND seq > $1 ORDER BY seq",
            &[&seq],
        )
        .await?;
    let adjusted = |row: &Row| {
        Ok(Adjusted {
            seq: row.try_get(0)?,
            call: row.try_get(1)?,
            day: day(row, 2)?,
            team: row.try_get(3)?,
            key_id: row.try_get(4)?,
            route: row.try_get(5)?,
            millionths: row.try_get(6)?,
        })
    };
    rows.iter().map(adjusted).collect()
}

/// The number of the last change.
pub(super) async fn last(client: &Client) -> Result<i64, Error> {
    client.query_one("SELECT coalesce(max(seq), 0) FROM changes", &[]).await?.try_get(0)
}
