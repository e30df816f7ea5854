//! What operators write into a ledger and take out of it: grants, corrections, old detail.

use std::io::Write;

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::types::ValueRef;
use rusqlite::{Transaction, TransactionBehavior, params};

use super::Adjustment;
use super::entry::signed;
use super::store::{Store, StoreError, micros};
use crate::credits::budget::Grant;

impl Store {
    /// Writes a grant, with the reason for it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn grant(&mut self, grant: &Grant, why: &str, at: Timestamp) -> Result<(), StoreError> {
        let Grant { team, credits, from, until } = grant;
        self.connection
            .execute(
                "INSERT INTO changes (kind, at, day, team, credits, reason, until) VALUES ('granted', ?1, ?2, ?3, ?4, ?5, ?6)",
                params![micros(at), from.to_string(), team, signed(*credits), why, until.to_string()],
            )
            .map(|_| ())
            .map_err(|error| Self::failure(&self.path, error))
    }

    /// Settles which entries are to go, and writes them as CSV with headings. Returns how many they are.
    ///
    /// # Errors
    /// What SQLite or the output says.
    pub fn export(&mut self, before: Date, out: &mut impl Write) -> std::io::Result<usize> {
        let mut export = || -> Result<usize, ExportError> {
            self.connection.execute("DROP TABLE IF EXISTS temp.going", [])?;
            self.connection.execute(
                "CREATE TEMP TABLE going AS SELECT call FROM bookings
                 WHERE day < ?1 AND end_seq IS NOT NULL AND call < (SELECT max(call) FROM bookings)",
                [before.to_string()],
            )?;
            let mut statement = self.connection.prepare(
                "SELECT * FROM entries WHERE call IN (SELECT call FROM temp.going) ORDER BY call, at, seq",
            )?;
            writeln!(out, "{}", statement.column_names().join(","))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    let separator = if column == 0 { "" } else { "," };
                    write!(out, "{separator}{}", cell(row.get_ref(column)?))?;
                }
                writeln!(out)?;
                count += 1;
            }
            Ok(count)
        };
        export().map_err(|error| match error {
            ExportError::Io(error) => error,
            ExportError::Sqlite(error) => std::io::Error::other(error.to_string()),
        })
    }

    /// Removes the entries that [`Store::export`] has written, a few at a time, so that a running gateway need not
    /// wait. No sum changes.
    ///
    /// # Errors
    /// What SQLite says; what is left can be exported and pruned again.
    pub fn prune(&mut self, before: Date) -> Result<usize, StoreError> {
        let prune = || {
            // First, so that sums of those days are never held against what is still there of them.
            self.connection.execute("INSERT INTO pruned (before) VALUES (?1)", [before.to_string()])?;
            let mut removed = 0;
            loop {
                let change = self.connection.unchecked_transaction()?;
                let some = "call IN (SELECT call FROM temp.going ORDER BY call LIMIT 5000)";
                let calls = change.execute(&format!("DELETE FROM bookings WHERE {some}"), [])?;
                let corrections =
                    change.execute(&format!("DELETE FROM changes WHERE kind = 'adjusted' AND {some}"), [])?;
                change.execute(&format!("DELETE FROM temp.going WHERE {some}"), [])?;
                change.commit()?;
                // Each call has a hold and an ending.
                removed += 2 * calls + corrections;
                if calls == 0 {
                    return Ok(removed);
                }
            }
        };
        prune().map_err(|error| Self::failure(&self.path, error))
    }

    /// Writes corrections, all of them or none. What was in doubt is final then.
    ///
    /// # Errors
    /// What SQLite says; nothing has been written then.
    pub fn adjust(&mut self, adjustments: &[Adjustment]) -> Result<(), StoreError> {
        let mut write = || {
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for adjustment in adjustments {
                // Somebody may have corrected it since it was read: then it is left as it is.
                let corrected: i64 = change.query_row(
                    "SELECT coalesce(sum(credits), 0) + (SELECT credits FROM bookings WHERE kind = 'settled' AND call = ?1)
                     FROM changes WHERE kind = 'adjusted' AND call = ?1",
                    [adjustment.booked.call],
                    |row| row.get(0),
                )?;
                if corrected == signed(adjustment.booked.credits) {
                    write_adjustment(&change, adjustment)?;
                }
            }
            change.commit()
        };
        write().map_err(|error| Self::failure(&self.path, error))
    }
}

fn write_adjustment(change: &Transaction<'_>, adjustment: &Adjustment) -> rusqlite::Result<()> {
    let Adjustment { booked, figure, reason, at } = adjustment;
    let difference = signed(*figure) - signed(booked.credits);
    change.execute(
        "INSERT INTO changes (kind, call, at, day, team, key_id, route, request_id, response_id, credits, reason)
         VALUES ('adjusted', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            booked.call,
            micros(*at),
            booked.day.to_string(),
            booked.team,
            booked.key_id,
            booked.route,
            booked.request_id,
            booked.response_id,
            difference,
            reason
        ],
    )?;
    // What was estimated moves over to the final figures with all of it.
    let doubt = if booked.in_doubt { signed(booked.credits) } else { 0 };
    change.execute(
        "UPDATE day_sums SET final = final + ?1, estimated = estimated - ?2, adjusted_final = adjusted_final + ?1,
           adjusted_estimated = adjusted_estimated - ?2
         WHERE day = ?3 AND team = ?4 AND key_id = ?5 AND route = ?6 AND outcome = ?7",
        params![
            difference + doubt,
            doubt,
            booked.day.to_string(),
            booked.team,
            booked.key_id,
            booked.route,
            booked.outcome
        ],
    )?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// One value as CSV has it (RFC 4180).
fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.into_owned()
            }
        }
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => String::new(),
    }
}
