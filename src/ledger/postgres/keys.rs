//! Caller keys in the database.

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Client, Error, Row};

use super::blocking::Blocking;
use super::columns::{digest, limit, moment, moment_of};
use super::connect::{Server, Session};
use crate::ledger::error::LedgerError;
use crate::ledger::keys::{Hand, KeyEvent, KeyRegister, Registered, RegisteredKey, forgotten_before};

/// Changes of keys come one behind the other, and wait for no turn. The first number is this program's.
const ALONE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(1299597175, 2)";
const COLUMNS: &str = "id, team, sha256, lineage, added_at, expires_at, revoked_at, in_file, made_for";

/// The register of callers' keys.
#[derive(Debug)]
pub(super) struct Register {
    session: Blocking,
}

impl Register {
    /// Opens it.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn open(server: &Server) -> Result<Self, LedgerError> {
        Ok(Self { session: Blocking::open(server, Session::Turns)? })
    }
}

impl KeyRegister for Register {
    fn last_event(&self) -> Result<i64, LedgerError> {
        self.session.ask(last_event)
    }

    fn keys(&self) -> Result<(i64, Vec<RegisteredKey>), LedgerError> {
        self.session.ask(async |client| Ok::<_, Error>((last_event(client).await?, all(client).await?)))
    }

    fn events_after(&self, seq: i64, count: usize) -> Result<Vec<KeyEvent>, LedgerError> {
        self.session.ask(async |client| events_after(client, seq, count).await)
    }

    fn add(&mut self, key: &RegisteredKey, hand: Hand<'_>) -> Result<Registered, LedgerError> {
        self.session.within(ALONE, async |change| add(change, key, hand).await)
    }

    fn replace(
        &mut self,
        old: &RegisteredKey,
        new: &RegisteredKey,
        ends: Timestamp,
        hand: Hand<'_>,
    ) -> Result<Registered, LedgerError> {
        self.session.within(ALONE, async |change| replace(change, (old, new), ends, hand).await)
    }

    fn revoke(&mut self, old: &RegisteredKey, why: &str, hand: Hand<'_>) -> Result<bool, LedgerError> {
        self.session.within(ALONE, async |change| revoke(change, old, why, hand).await)
    }
}

/// All keys, in the order of their ids.
pub(super) async fn all(client: &Client) -> Result<Vec<RegisteredKey>, Error> {
    let sql = format!(r#"SELECT {COLUMNS} FROM caller_keys ORDER BY id COLLATE "C""#);
    client.query(&sql, &[]).await?.iter().map(key).collect()
}

fn key(row: &Row) -> Result<RegisteredKey, Error> {
    Ok(RegisteredKey {
        id: row.try_get(0)?,
        team: row.try_get(1)?,
        digest: digest(row, 2)?,
        lineage: row.try_get(3)?,
        added: moment(row, 4)?,
        expires: row.try_get::<_, Option<i64>>(5)?.map(moment_of),
        revoked: row.try_get::<_, Option<i64>>(6)?.map(moment_of),
        in_file: row.try_get(7)?,
        made_for: row.try_get::<_, Option<i64>>(8)?.map(SignedDuration::from_micros),
    })
}

async fn find(client: &Client, id: &str) -> Result<Option<RegisteredKey>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM caller_keys WHERE id = $1");
    client.query_opt(&sql, &[&id]).await?.as_ref().map(key).transpose()
}

async fn last_event(client: &Client) -> Result<i64, Error> {
    client.query_one("SELECT coalesce(max(seq), 0) FROM key_events", &[]).await?.try_get(0)
}

async fn events_after(client: &Client, seq: i64, count: usize) -> Result<Vec<KeyEvent>, Error> {
    let sql = "SELECT seq, at, key_id, team, kind, by, detail, expires_at FROM key_events WHERE seq > $1 ORDER BY seq LIMIT $2";
    let event = |row: &Row| {
        Ok(KeyEvent {
            seq: row.try_get(0)?,
            at: moment(row, 1)?,
            key_id: row.try_get(2)?,
            team: row.try_get(3)?,
            kind: row.try_get(4)?,
            by: row.try_get(5)?,
            detail: row.try_get(6)?,
            expires: row.try_get::<_, Option<i64>>(7)?.map(moment_of),
        })
    };
    client.query(sql, &[&seq, &limit(count)]).await?.iter().map(event).collect()
}

async fn add(change: &Client, key: &RegisteredKey, hand: Hand<'_>) -> Result<Registered, Error> {
    if let Some(known) = find(change, &key.id).await? {
        let same = known.is_same(key) && known.expires == key.expires;
        return Ok(if same { Registered::Known } else { Registered::Taken });
    }
    forget(change, hand.at).await?;
    insert(change, key).await?;
    event(change, ("added", key), (None, key.expires), hand).await?;
    Ok(Registered::New)
}

async fn replace(
    change: &Client,
    (old, new): (&RegisteredKey, &RegisteredKey),
    ends: Timestamp,
    hand: Hand<'_>,
) -> Result<Registered, Error> {
    if let Some(known) = find(change, &new.id).await? {
        let look = "SELECT EXISTS (SELECT 1 FROM key_events WHERE kind = 'replaced' AND key_id = $1 AND detail = $2)";
        let done_before: bool = change.query_one(look, &[&old.id, &new.id]).await?.try_get(0)?;
        // Its end is of the first time: it was reckoned from then.
        let same = known.is_same(new) && done_before;
        return Ok(if same { Registered::Known } else { Registered::Taken });
    }
    forget(change, hand.at).await?;
    let known = find(change, &old.id).await?.unwrap_or_else(|| old.clone());
    if !known.is_alive(hand.at) {
        return Ok(Registered::Gone);
    }
    let others = "SELECT count(*) FROM caller_keys
                  WHERE lineage = $1 AND id <> $2 AND revoked_at IS NULL AND coalesce(expires_at > $3, true)";
    let others = change.query_one(others, &[&known.lineage, &known.id, &hand.at.as_microsecond()]).await?;
    if others.try_get::<_, i64>(0)? > 0 {
        return Ok(Registered::TooMany);
    }
    // Not before it is certain: what was tried in vain leaves nothing behind.
    let old = take_up(change, old).await?;
    let ends = old.expires.map_or(ends, |expires| expires.min(ends));
    let sql = "UPDATE caller_keys SET expires_at = $2 WHERE id = $1";
    change.execute(sql, &[&old.id, &ends.as_microsecond()]).await?;
    let new = RegisteredKey { lineage: old.lineage.clone(), ..new.clone() };
    insert(change, &new).await?;
    event(change, ("added", &new), (None, new.expires), hand).await?;
    event(change, ("replaced", &old), (Some(&new.id), Some(ends)), hand).await?;
    Ok(Registered::New)
}

async fn revoke(change: &Client, old: &RegisteredKey, why: &str, hand: Hand<'_>) -> Result<bool, Error> {
    let old = take_up(change, old).await?;
    let sql = "UPDATE caller_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    if change.execute(sql, &[&old.id, &hand.at.as_microsecond()]).await? == 0 {
        return Ok(false);
    }
    event(change, ("revoked", &old), (Some(why).filter(|why| !why.is_empty()), Some(hand.at)), hand).await?;
    Ok(true)
}

/// The key of that id as the ledger has it; from now on also where it is of the configuration.
async fn take_up(change: &Client, old: &RegisteredKey) -> Result<RegisteredKey, Error> {
    if let Some(known) = find(change, &old.id).await? {
        return Ok(known);
    }
    insert(change, old).await?;
    Ok(old.clone())
}

async fn insert(change: &Client, key: &RegisteredKey) -> Result<(), Error> {
    let at = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    let made_for = key.made_for.map(|time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    let sql = format!("INSERT INTO caller_keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let (added, expires, revoked) = (key.added.as_microsecond(), at(key.expires), at(key.revoked));
    let digest = key.digest.as_slice();
    change
        .execute(
            &sql,
            &[&key.id, &key.team, &digest, &key.lineage, &added, &expires, &revoked, &key.in_file, &made_for],
        )
        .await
        .map(drop)
}

async fn event(
    change: &Client,
    (kind, key): (&str, &RegisteredKey),
    (detail, expires): (Option<&str>, Option<Timestamp>),
    hand: Hand<'_>,
) -> Result<(), Error> {
    let expires = expires.map(Timestamp::as_microsecond);
    let sql = "INSERT INTO key_events (at, key_id, team, kind, by, detail, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let at = hand.at.as_microsecond();
    change.execute(sql, &[&at, &key.id, &key.team, &kind, &hand.by, &detail, &expires]).await.map(drop)
}

/// Keys of the ledger's own that have come to their end long ago. Those that were revoked stay.
async fn forget(change: &Client, now: Timestamp) -> Result<(), Error> {
    let long_ago = forgotten_before(now);
    let sql = "DELETE FROM caller_keys WHERE NOT in_file AND revoked_at IS NULL AND expires_at < $1";
    change.execute(sql, &[&long_ago.as_microsecond()]).await.map(drop)
}
