//! Caller keys in the ledger's file.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::columns::credits;
use super::failure::failure;
use super::store::Store;
use crate::ledger::entry::{day_of, days};
use crate::ledger::error::LedgerError;
use crate::ledger::keys::{
    CallerUse, Hand, KeyEvent, KeyRegister, Registered, RegisteredKey, forgotten_before,
};
use crate::ledger::rows::Span;

const COLUMNS: &str = "id, team, sha256, lineage, added_at, expires_at, revoked_at, in_file, made_for";

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

fn key(row: &Row<'_>) -> rusqlite::Result<RegisteredKey> {
    Ok(RegisteredKey {
        id: row.get(0)?,
        team: row.get(1)?,
        digest: row.get(2)?,
        lineage: row.get(3)?,
        added: moment(row.get(4)?),
        expires: row.get::<_, Option<i64>>(5)?.map(moment),
        revoked: row.get::<_, Option<i64>>(6)?.map(moment),
        in_file: row.get(7)?,
        made_for: row.get::<_, Option<i64>>(8)?.map(SignedDuration::from_micros),
    })
}

fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<RegisteredKey>> {
    let sql = format!("SELECT {COLUMNS} FROM caller_keys WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id], key).optional()
}

/// All keys, in the order of their ids.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<RegisteredKey>> {
    let sql = format!("SELECT {COLUMNS} FROM caller_keys ORDER BY id");
    connection.prepare_cached(&sql)?.query_map([], key)?.collect()
}

/// What callers have done, with what they have spent since a day.
pub(super) fn uses(connection: &Connection, span: Span) -> rusqlite::Result<Vec<CallerUse>> {
    let mut statement = connection.prepare_cached(
        "SELECT k.name, max(day), sum(CASE WHEN day BETWEEN ?1 AND ?2 THEN final + estimated ELSE 0 END)
         FROM day_sums JOIN names k ON k.id = key GROUP BY key",
    )?;
    let uses = statement.query_map(days(span), |row| {
        let (key_id, spent) = (row.get(0)?, credits(row, 2)?);
        Ok(CallerUse { key_id, last_day: day_of(row.get(1)?), spent })
    })?;
    uses.collect()
}

fn last_event(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM key_events")?.query_row([], |row| row.get(0))
}

fn insert(change: &Transaction<'_>, key: &RegisteredKey) -> rusqlite::Result<()> {
    let at = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    change
        .prepare_cached(&format!(
            "INSERT INTO caller_keys ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        ))?
        .execute(params![
            key.id,
            key.team,
            key.digest,
            key.lineage,
            key.added.as_microsecond(),
            at(key.expires),
            at(key.revoked),
            key.in_file,
            key.made_for.map(|time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
        ])
        .map(drop)
}

/// The key of that id as the ledger has it; from now on also where it is of the configuration.
fn take_up(change: &Transaction<'_>, old: &RegisteredKey) -> rusqlite::Result<RegisteredKey> {
    if let Some(known) = find(change, &old.id)? {
        return Ok(known);
    }
    insert(change, old)?;
    Ok(old.clone())
}

fn event(
    change: &Transaction<'_>,
    (kind, key): (&str, &RegisteredKey),
    (detail, expires): (Option<&str>, Option<Timestamp>),
    hand: Hand<'_>,
) -> rusqlite::Result<()> {
    change
        .prepare_cached(
            "INSERT INTO key_events (at, key_id, team, kind, by, detail, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            hand.at.as_microsecond(),
            key.id,
            key.team,
            kind,
            hand.by,
            detail,
            expires.map(Timestamp::as_microsecond)
        ])
        .map(drop)
}

/// Keys of the ledger's own that have come to their end long ago. Those that were revoked stay.
fn forget(change: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let long_ago = forgotten_before(now);
    let sql = "DELETE FROM caller_keys WHERE NOT in_file AND revoked_at IS NULL AND expires_at < ?1";
    change.execute(sql, [long_ago.as_microsecond()]).map(drop)
}

impl Store {
    fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let done = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&transaction)?;
            transaction.commit().map(|()| done)
        };
        let done = done();
        done.map_err(|error| failure(&self.path, &error))
    }

    fn look<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        let looked = self.connection.unchecked_transaction().and_then(|moment| look(&moment));
        looked.map_err(|error| failure(&self.path, &error))
    }
}

impl KeyRegister for Store {
    fn last_event(&self) -> Result<i64, LedgerError> {
        self.look(last_event)
    }

    fn keys(&self) -> Result<(i64, Vec<RegisteredKey>), LedgerError> {
        self.look(|connection| Ok((last_event(connection)?, all(connection)?)))
    }

    fn events_after(&self, seq: i64, count: usize) -> Result<Vec<KeyEvent>, LedgerError> {
        self.look(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, key_id, team, kind, by, detail, expires_at FROM key_events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let events = statement.query_map([seq, count], |row| {
                Ok(KeyEvent {
                    seq: row.get(0)?,
                    at: moment(row.get(1)?),
                    key_id: row.get(2)?,
                    team: row.get(3)?,
                    kind: row.get(4)?,
                    by: row.get(5)?,
                    detail: row.get(6)?,
                    expires: row.get::<_, Option<i64>>(7)?.map(moment),
                })
            })?;
            events.collect()
        })
    }

    fn add(&mut self, key: &RegisteredKey, hand: Hand<'_>) -> Result<Registered, LedgerError> {
        self.change(|change| {
            if let Some(known) = find(change, &key.id)? {
                let same = known.is_same(key) && known.expires == key.expires;
                return Ok(if same { Registered::Known } else { Registered::Taken });
            }
            forget(change, hand.at)?;
            insert(change, key)?;
            event(change, ("added", key), (None, key.expires), hand)?;
            Ok(Registered::New)
        })
    }

    fn replace(
        &mut self,
        old: &RegisteredKey,
        new: &RegisteredKey,
        ends: Timestamp,
        hand: Hand<'_>,
    ) -> Result<Registered, LedgerError> {
        self.change(|change| {
            if let Some(known) = find(change, &new.id)? {
                let done_before: bool = change.query_row(
                    "SELECT EXISTS (SELECT 1 FROM key_events WHERE kind = 'replaced' AND key_id = ?1 AND detail = ?2)",
                    [&old.id, &new.id],
                    |row| row.get(0),
                )?;
                // Its end is of the first time: it was reckoned from then.
                let same = known.is_same(new) && done_before;
                return Ok(if same { Registered::Known } else { Registered::Taken });
            }
            forget(change, hand.at)?;
            let known = find(change, &old.id)?.unwrap_or_else(|| old.clone());
            if !known.is_alive(hand.at) {
                return Ok(Registered::Gone);
            }
            let others: i64 = change.query_row(
                "SELECT count(*) FROM caller_keys
                 WHERE lineage = ?1 AND id <> ?2 AND revoked_at IS NULL AND coalesce(expires_at > ?3, true)",
                params![known.lineage, known.id, hand.at.as_microsecond()],
                |row| row.get(0),
            )?;
            if others > 0 {
                return Ok(Registered::TooMany);
            }
            // Not before it is certain: what was tried in vain leaves nothing behind.
            let old = take_up(change, old)?;
            let ends = old.expires.map_or(ends, |expires| expires.min(ends));
            change.execute(
                "UPDATE caller_keys SET expires_at = ?2 WHERE id = ?1",
                params![old.id, ends.as_microsecond()],
            )?;
            let new = RegisteredKey { lineage: old.lineage.clone(), ..new.clone() };
            insert(change, &new)?;
            event(change, ("added", &new), (None, new.expires), hand)?;
            event(change, ("replaced", &old), (Some(&new.id), Some(ends)), hand)?;
            Ok(Registered::New)
        })
    }

    fn revoke(&mut self, old: &RegisteredKey, why: &str, hand: Hand<'_>) -> Result<bool, LedgerError> {
        self.change(|change| {
            let old = take_up(change, old)?;
            let sql = "UPDATE caller_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
            if change.execute(sql, params![old.id, hand.at.as_microsecond()])? == 0 {
                return Ok(false);
            }
            event(change, ("revoked", &old), (Some(why).filter(|why| !why.is_empty()), Some(hand.at)), hand)?;
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(id: &str, expires: Option<i64>) -> RegisteredKey {
        let digest = [id.as_bytes()[0]; 32];
        let (id, team) = (id.to_owned(), "growth".to_owned());
        let lineage = id.clone();
        let (added, expires) = (at(0), expires.map(at));
        let (in_file, made_for, revoked) = (false, None, None);
        RegisteredKey { id, team, digest, in_file, lineage, added, made_for, expires, revoked }
    }

    fn hand(second: i64) -> Hand<'static> {
        Hand { by: "a test", at: at(second) }
    }

    #[test]
    fn a_key_is_registered_once_replaced_by_one_at_a_time_and_revoked_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("ledger.db"), Durability::Os).unwrap();
        let a = key("aaaaaaaa", Some(1000));
        assert_eq!(store.add(&a, hand(1)).unwrap(), Registered::New);
        assert_eq!(store.add(&a, hand(2)).unwrap(), Registered::Known);
        assert_eq!(
            store.add(&RegisteredKey { digest: [0; 32], ..a.clone() }, hand(2)).unwrap(),
            Registered::Taken
        );
        assert_eq!(
            store.add(&RegisteredKey { team: "search".into(), ..a.clone() }, hand(2)).unwrap(),
            Registered::Taken
        );
        // Two alive, and not a third.
        let (b, c) = (key("bbbbbbbb", None), key("cccccccc", None));
        assert_eq!(store.replace(&a, &b, at(500), hand(10)).unwrap(), Registered::New);
        assert_eq!(store.replace(&a, &b, at(900), hand(11)).unwrap(), Registered::Known);
        assert_eq!(store.replace(&a, &c, at(500), hand(12)).unwrap(), Registered::TooMany);
        assert_eq!(store.replace(&b, &c, at(500), hand(12)).unwrap(), Registered::TooMany);
        assert_eq!(store.replace(&b, &c, at(2000), hand(500)).unwrap(), Registered::New);
        assert_eq!(store.replace(&a, &key("dddddddd", None), at(600), hand(501)).unwrap(), Registered::Gone);
        // Never beyond its own end.
        let (_, keys) = store.keys().unwrap();
        let ends: Vec<_> =
            keys.iter().map(|key| (key.id.as_str(), key.expires, key.lineage.as_str())).collect();
        let lineage = "aaaaaaaa";
        assert_eq!(
            ends,
            [
                (lineage, Some(at(500)), lineage),
                ("bbbbbbbb", Some(at(2000)), lineage),
                ("cccccccc", None, lineage)
            ]
        );
        assert!(store.revoke(&c, "leaked", hand(600)).unwrap());
        assert!(!store.revoke(&c, "leaked", hand(601)).unwrap());
        assert_eq!(store.add(&c, hand(602)).unwrap(), Registered::Taken, "not again");
        // One that only the configuration has: its row is a tombstone from then on.
        assert!(store.revoke(&key("eeeeeeee", None), "", hand(700)).unwrap());
        let (last, keys) = store.keys().unwrap();
        assert_eq!(
            keys.iter().filter(|key| key.is_alive(at(700))).map(|key| &key.id).collect::<Vec<_>>(),
            ["bbbbbbbb"]
        );
        let events = store.events_after(0, 100).unwrap();
        let told: Vec<_> = events
            .iter()
            .map(|event| format!("{} {} {:?}", event.kind, &event.key_id[..1], event.detail))
            .collect();
        assert_eq!(
            told,
            [
                "added a None",
                "added b None",
                "replaced a Some(\"bbbbbbbb\")",
                "added c None",
                "replaced b Some(\"cccccccc\")",
                "revoked c Some(\"leaked\")",
                "revoked e None"
            ]
        );
        assert_eq!((last, store.last_event().unwrap()), (7, 7));
        assert_eq!(store.events_after(6, 100).unwrap().len(), 1);
        // Nobody takes an event back.
        for sql in ["DELETE FROM key_events", "UPDATE key_events SET by = 'nobody'"] {
            assert!(
                store.connection.execute(sql, []).unwrap_err().to_string().contains("only ever added to")
            );
        }
    }
}
