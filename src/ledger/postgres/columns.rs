//! Columns of a row as the rest of the program has them.

use std::error::Error as StdError;

use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Error, Row};

use crate::credits::Credits;
use crate::ledger::entry::day_of;

/// Of a booking `b`: its credits as they were corrected.
pub(super) const CORRECTED: &str = "(b.credits + coalesce((SELECT sum(a.credits) FROM changes a
     WHERE a.kind = 'adjusted' AND a.call = b.call), 0))::BIGINT";

/// Of a booking `b`: whether its credits are in doubt, which a correction ends.
pub(super) const IN_DOUBT: &str = "(b.kind = 2 AND NOT EXISTS (SELECT 1 FROM changes a
     WHERE a.kind = 'adjusted' AND a.call = b.call))";

/// Of grouped sums of days: whether there is anything to tell. A call that never left leaves a row of nothing.
pub(super) const HAS_ANYTHING: &str = "sum(calls) > 0 OR sum(final + estimated) > 0";

/// What the price of a booking `b` rests on: what the last correction of it does, if there is one.
pub(super) const BASIS: &str =
    "coalesce((SELECT CASE a.basis WHEN 'derived' THEN 'derived' ELSE 'final' END FROM changes a
     WHERE a.kind = 'adjusted' AND a.call = b.call ORDER BY a.seq DESC LIMIT 1),
     CASE b.kind WHEN 1 THEN 'final' WHEN 2 THEN 'estimated' WHEN 3 THEN 'derived' END)";

pub(super) fn credits(row: &Row, at: usize) -> Result<Credits, Error> {
    count(row, at).map(Credits::from_millionths)
}

pub(super) fn count(row: &Row, at: usize) -> Result<u64, Error> {
    row.try_get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0))
}

pub(super) fn day(row: &Row, at: usize) -> Result<Date, Error> {
    row.try_get::<_, i32>(at).map(|days| day_of(days.into()))
}

pub(super) fn moment(row: &Row, at: usize) -> Result<Timestamp, Error> {
    row.try_get(at).map(moment_of)
}

pub(super) fn moment_of(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// How many rows are asked for.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A digest of SHA-256. Bytes of another length are none.
pub(super) fn digest(row: &Row, at: usize) -> Result<[u8; 32], Error> {
    row.try_get::<_, Digest>(at).map(|digest| digest.0)
}

struct Digest([u8; 32]);

impl<'a> FromSql<'a> for Digest {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::BYTEA
    }
}
