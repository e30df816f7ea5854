//! What a gateway takes up from the database when it starts.

use tokio_postgres::{Client, Error, Row};

use super::columns::{credits, day, limit, moment};
use super::{changes, recent, sums};
use crate::ledger::facts::Account;
use crate::ledger::opening::{KnownJob, KnownStage, LookBack, Opening};
use crate::ledger::rows::Span;

/// All of it, from one moment if `client` is in a transaction that sees one. Writes nothing: what is past its time is taken
/// out beside this.
///
/// # Errors
/// What the server says.
pub(super) async fn opening(client: &Client, back: &LookBack) -> Result<Opening, Error> {
    let grants = changes::grants(client, back.grants).await?;
    // What earlier periods took of a grant is known from its first day on.
    let granted = grants.iter().filter(|grant| grant.until >= back.today).map(|grant| grant.from);
    let since = granted.min().unwrap_or(back.since).clamp(back.grants, back.since);
    Ok(Opening {
        last_call: recent::last_call(client).await?,
        // Counters begin at nothing in each process: of several that went on from the ledger's sums each would have counted
        // what all of them did.
        totals: Vec::new(),
        spent: sums::spends(client, Span { since, until: Span::ALL.until }).await?,
        grants,
        costs: recent::costs(client, back.costs).await?,
        sent: recent::sent_between(client, back.sent_since, back.now).await?,
        last_change: changes::last(client).await?,
        known: recent::known_since(client, back.known_since).await?,
        // As the totals.
        saved: Vec::new(),
        jobs: jobs(client, back.jobs).await?,
        things: things(client, back.things).await?,
    })
}

/// The latest jobs that go on, or whose cost is not known, the oldest first.
async fn jobs(client: &Client, count: usize) -> Result<Vec<KnownJob>, Error> {
    let rows = client
        .query(
            "SELECT call, upstream_id, team, key_id, route, day, reserve, began_at, state,
                    credits IS NOT NULL
                      OR EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = jobs.call)
                      OR EXISTS (SELECT 1 FROM bookings b WHERE b.call = jobs.call AND b.kind <> 2)
             FROM jobs WHERE credits IS NULL OR state = 0 ORDER BY call DESC LIMIT $1",
            &[&limit(count)],
        )
        .await?;
    rows.iter().rev().map(job).collect()
}

fn job(row: &Row) -> Result<KnownJob, Error> {
    Ok(KnownJob {
        call: row.try_get(0)?,
        upstream_id: row.try_get(1)?,
        account: Account::of(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?),
        day: day(row, 5)?,
        reserve: credits(row, 6)?,
        began: moment(row, 7)?,
        stage: match row.try_get::<_, i16>(8)? {
            0 => KnownStage::GoesOn,
            1 => KnownStage::Over,
            _ => KnownStage::GivenUp,
        },
        is_settled: row.try_get(9)?,
    })
}

/// The latest things that were made, the oldest first.
async fn things(client: &Client, count: usize) -> Result<Vec<(String, String, String)>, Error> {
    let sql = "SELECT kind, id, team FROM things ORDER BY seq DESC LIMIT $1";
    let rows = client.query(sql, &[&limit(count)]).await?;
    rows.iter().rev().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}
