-- Version 7 of the ledger: what a configuration can be tried on, beside the calls themselves.

-- How long a call has waited for its turn before it was held, in microseconds. Those that are not here have not waited.
CREATE TABLE waits (
  call   INTEGER PRIMARY KEY,
  queued INTEGER NOT NULL
) STRICT;

-- Calls by the minute, in minutes since the epoch, that are no booking: those that were refused, by the code that they were
-- refused with, and those that cost nothing, without one.
CREATE TABLE asks (
  minute  INTEGER NOT NULL,
  team    INTEGER NOT NULL,
  route   INTEGER NOT NULL,
  code    INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  -- In which seconds of the minute: a bit each.
  seconds INTEGER NOT NULL,
  PRIMARY KEY (minute, team, route, code)
) STRICT, WITHOUT ROWID;

-- Refusals, to be read by hand.
CREATE VIEW refused AS
SELECT datetime(minute * 60, 'unixepoch') AS minute_utc, t.name AS team, r.name AS route, c.name AS code, count
FROM asks JOIN names t ON t.id = team JOIN names r ON r.id = route JOIN names c ON c.id = code WHERE c.name <> '';
