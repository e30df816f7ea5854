//! A ledger's file brought into the database, and back: all of it in one transaction or nothing, and held against where it
//! comes from before it counts.

use std::error::Error as StdError;
use std::path::Path;
use std::pin::pin;

use bytes::BytesMut;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, WrongType, accepts, to_sql_checked};
use tokio_postgres::{Client, Error, Row};

use super::blocking::Blocking;
use super::columns::credits;
use super::connect::{Server, Session};
use super::failure::Failure;
use super::migrate::migrate;
use crate::config::{LedgerFile, Postgres};
use crate::credits::Credits;
use crate::ledger::entry::day_of;
use crate::ledger::error::LedgerError;
use crate::ledger::file::{Cell, Dump, Load, Summed, Sums, Table};

/// Begins what no turn, no grant and no change of keys comes in between of, however long it takes. The first number is this
/// program's, the second that of changes of keys.
const IMPORTING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0;
     SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock(1299597175, 2);
     SELECT turn FROM gate FOR UPDATE";
/// The same for what sees one moment of the ledger, which begins behind the locks. All of a cursor is asked for, and nothing is
/// looked up one by one, of however many the server takes it for.
const EXPORTING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0;
     SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL cursor_tuple_fraction = 1;
     SET LOCAL enable_nestloop = off; LOCK TABLE gate, caller_keys, key_events IN EXCLUSIVE MODE";

const RUNNING: &str = "SELECT count(*) FROM replicas
    WHERE gone_at IS NULL AND lease_until > wall_clock()";
const OPEN: &str = "SELECT count(*) FROM bookings WHERE ended_in IS NULL";

/// What is given a number from now on is given one behind those that were brought over. Turns and desks of before know
/// nothing of them, nor do gateways that were silent long enough to be lost.
const GO_ON: &str = "
    SELECT setval(pg_get_serial_sequence('changes', 'seq'), max(seq)) FROM changes HAVING count(*) > 0;
    SELECT setval(pg_get_serial_sequence('things', 'seq'), max(seq)) FROM things HAVING count(*) > 0;
    SELECT setval(pg_get_serial_sequence('key_events', 'seq'), max(seq)) FROM key_events HAVING count(*) > 0;
    DELETE FROM turns;
    DELETE FROM desks;
    UPDATE replicas SET gone_at = wall_clock(), is_lost = true WHERE gone_at IS NULL;
    UPDATE gate SET settling_until = NULL,
      turn = greatest(turn, (SELECT coalesce(max(greatest(held_in, ended_in)), 0) FROM bookings));
    ANALYZE bookings, changes, day_sums, savings, answers, jobs, things, caller_keys, key_events, waits, asks";

/// A file numbers entries, and a turn has many: they are numbered anew, in the order of turns, and within one holds first.
const NUMBERS: &str = "
    SELECT call, min(number) AS held_as, max(number) AS ended_as
    FROM (SELECT call, row_number() OVER (ORDER BY turn, is_end, call) AS number
          FROM (SELECT call, held_in AS turn, false AS is_end FROM bookings
                UNION ALL SELECT call, ended_in, true FROM bookings) entries) numbered
    GROUP BY call";
/// Rows that are in memory at the same time.
const FETCH: &str = "FETCH 2000 FROM whole";

/// As those of a file.
const SUMS: &str = "
    SELECT 'sums of days', day::BIGINT, team, key_id, sum(calls)::BIGINT, sum(final + estimated)::BIGINT
    FROM day_sums GROUP BY day, team, key_id
    UNION ALL
    SELECT 'calls', day, team, key_id, count(*), sum(credits)::BIGINT FROM bookings GROUP BY day, team, key_id
    UNION ALL
    SELECT 'changes', day, team, coalesce(key_id, ''), count(*), sum(credits)::BIGINT FROM changes
    GROUP BY day, team, key_id";
const MOVED: &str =
    "SELECT (SELECT coalesce(sum(final + estimated), 0)::BIGINT FROM day_sums), (SELECT turn FROM gate)";

/// What was brought over, and is the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Rows of each table.
    pub rows: Vec<(&'static str, u64)>,
    /// All that was ever booked.
    pub credits: Credits,
    /// The last turn of the ledger in the database.
    pub turn: i64,
}

/// Brings a ledger's file into the database, where nothing is yet; the schema is made if it is not there.
///
/// # Errors
/// In words for the operator. Nothing was brought over then.
pub fn import(settings: &Postgres, from: &LedgerFile) -> Result<Moved, LedgerError> {
    let dump = Dump::open(from)?;
    let server = Server::of(settings)?;
    let session = match Blocking::open(&server, Session::Reports) {
        Err(LedgerError::DatabaseEmpty { .. }) => {
            migrate(&server)?;
            Blocking::open(&server, Session::Reports)?
        }
        opened => opened?,
    };
    session.within(IMPORTING, async |change| bring(change, &dump, server.place()).await)
}

/// Writes all that stands in the database to a ledger's file, which must not be there yet. The database stays as it is.
///
/// # Errors
/// In words for the operator. There is no file then.
pub fn export(settings: &Postgres, to: &Path) -> Result<Moved, LedgerError> {
    let server = Server::of(settings)?;
    let session = Blocking::open(&server, Session::Reports)?;
    let (load, moved) =
        session.within(EXPORTING, async |client| take_out(client, to, server.place()).await)?;
    load.finish()?;
    Ok(moved)
}

fn refused<T>(place: &str, what: String) -> Result<T, Failure> {
    Err(LedgerError::Database { place: place.to_owned(), what }.into())
}

async fn refuse_gateways(client: &Client, place: &str) -> Result<(), Failure> {
    let running: i64 = client.query_one(RUNNING, &[]).await?.try_get(0)?;
    if running > 0 {
        let remedy = "stop them first; `mavera-gateway ledger status` lists them";
        return refused(place, format!("gateways run on it ({running}): {remedy}"));
    }
    Ok(())
}

async fn bring(change: &Client, dump: &Dump, place: &str) -> Result<Moved, Failure> {
    refuse_gateways(change, place).await?;
    for table in Table::ALL.map(Table::name) {
        let look = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        let is_taken: bool = change.query_one(&look, &[]).await?.try_get(0)?;
        if is_taken {
            let remedy = "a ledger is brought into an empty one only; name another `schema`";
            return refused(place, format!("it is not empty, there is something in `{table}`: {remedy}"));
        }
    }
    let mut rows = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        rows.push((table.name(), copy(change, dump, table).await?));
    }
    change.batch_execute(GO_ON).await?;
    moved(change, &dump.sums()?, rows, place).await
}

async fn copy(change: &Client, dump: &Dump, table: Table) -> Result<u64, Failure> {
    let (name, columns) = (table.name(), table.columns().join(", "));
    let look = change.prepare(&format!("SELECT {columns} FROM {name}")).await?;
    let types: Vec<Type> = look.columns().iter().map(|column| column.type_().clone()).collect();
    let sink = change.copy_in(&format!("COPY {name} ({columns}) FROM STDIN BINARY")).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    let mut contents = dump.read(table)?;
    let mut rows = contents.rows()?;
    while let Some(row) = rows.take()? {
        writer.as_mut().write_raw(row.iter().copied().map(Value)).await?;
    }
    // What the server did not take it says here.
    Ok(writer.finish().await?)
}

async fn take_out(client: &Client, to: &Path, place: &str) -> Result<(Load, Moved), Failure> {
    refuse_gateways(client, place).await?;
    let open: i64 = client.query_one(OPEN, &[]).await?.try_get(0)?;
    if open > 0 {
        let remedy = "start a gateway and stop it, so that they are booked in doubt";
        return refused(place, format!("calls of gateways that were lost are open in it ({open}): {remedy}"));
    }
    let mut load = Load::new(to)?;
    let mut rows = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        rows.push((table.name(), read(client, &mut load, table).await?));
    }
    let moved = moved(client, &load.sums()?, rows, place).await?;
    Ok((load, moved))
}

async fn read(client: &Client, load: &mut Load, table: Table) -> Result<u64, Failure> {
    client.batch_execute(&format!("DECLARE whole NO SCROLL CURSOR FOR {}", select(table))).await?;
    let mut count = 0;
    loop {
        let rows = client.query(FETCH, &[]).await?;
        for row in &rows {
            let cell = |at: usize| row.try_get::<_, Value<'_>>(at).map(|Value(cell)| cell);
            let cells = (0..row.len()).map(cell).collect::<Result<Vec<_>, _>>()?;
            load.take(table, &cells)?;
        }
        count += rows.len() as u64;
        if rows.is_empty() {
            break;
        }
    }
    client.batch_execute("CLOSE whole").await?;
    Ok(count)
}

fn select(table: Table) -> String {
    let (name, columns) = (table.name(), table.columns().join(", "));
    if table == Table::Bookings {
        let columns = columns.replace("held_in", "held_as").replace("ended_in", "ended_as");
        return format!("SELECT {columns} FROM bookings JOIN ({NUMBERS}) numbers USING (call) ORDER BY call");
    }
    format!("SELECT {columns} FROM {name} ORDER BY 1")
}

/// What was brought over, if both sides add up to the same.
async fn moved(
    client: &Client,
    file: &Sums,
    rows: Vec<(&'static str, u64)>,
    place: &str,
) -> Result<Moved, Failure> {
    let database = sums(client).await?;
    if let Some(difference) = difference(file, &database) {
        return refused(place, difference);
    }
    let row = client.query_one(MOVED, &[]).await?;
    Ok(Moved { rows, credits: credits(&row, 0)?, turn: row.try_get(1)? })
}

async fn sums(client: &Client) -> Result<Sums, Error> {
    let sum = |row: &Row| {
        let (of, day, team, key_id) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok((Summed { of, day, team, key_id }, [row.try_get(4)?, row.try_get(5)?]))
    };
    client.query(SUMS, &[]).await?.iter().map(sum).collect()
}

/// The first of what does not add up to the same, in words.
fn difference(file: &Sums, database: &Sums) -> Option<String> {
    let differs = |summed: &&Summed| file.get(*summed) != database.get(*summed);
    let summed = file.keys().chain(database.keys()).find(differs)?;
    let told = |sums: &Sums| match sums.get(summed) {
        None => "not there".to_owned(),
        Some([count, millionths]) => format!("{count} with {millionths} millionths of a credit"),
    };
    let Summed { of, day, team, key_id } = summed;
    let day = day_of(*day);
    Some(format!(
        "nothing was brought over: the {of} of {day}, team {team}, key {key_id} are {} in the file and {} in the database",
        told(file),
        told(database)
    ))
}

/// One value of a row, as the server has it.
#[derive(Clone, Copy, Debug)]
struct Value<'a>(Cell<'a>);

impl ToSql for Value<'_> {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (self.0, of) {
            (Cell::Null, _) => Ok(IsNull::Yes),
            (Cell::Integer(number), &Type::INT8) => number.to_sql(of, out),
            (Cell::Integer(number), &Type::INT4) => i32::try_from(number)?.to_sql(of, out),
            (Cell::Integer(number), &Type::INT2) => i16::try_from(number)?.to_sql(of, out),
            (Cell::Integer(number), &Type::BOOL) => (number != 0).to_sql(of, out),
            (Cell::Text(text), &Type::TEXT) => text.to_sql(of, out),
            (Cell::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(of, out),
            _ => Err(WrongType::new::<Self>(of.clone()).into()),
        }
    }

    accepts!(INT8, INT4, INT2, BOOL, TEXT, BYTEA);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(match *of {
            Type::INT8 => Cell::Integer(i64::from_sql(of, raw)?),
            Type::INT4 => Cell::Integer(i32::from_sql(of, raw)?.into()),
            Type::INT2 => Cell::Integer(i16::from_sql(of, raw)?.into()),
            Type::BOOL => Cell::Integer(bool::from_sql(of, raw)?.into()),
            Type::BYTEA => Cell::Bytes(raw),
            _ => Cell::Text(<&str>::from_sql(of, raw)?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(Cell::Null))
    }

    accepts!(INT8, INT4, INT2, BOOL, TEXT, BYTEA);
}
