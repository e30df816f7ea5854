-- Version 2 of the ledger in PostgreSQL: what a configuration can be tried on, beside the calls themselves; as version 7 of a
-- ledger's file.

-- How long a call has waited for its turn before it was held, in microseconds. Those that are not here have not waited.
CREATE TABLE waits (
  call   BIGINT PRIMARY KEY,
  queued BIGINT NOT NULL
);

-- Calls by the minute, in minutes since the epoch, that are no booking: those that were refused, by the code that they were
-- refused with, and those that cost nothing, without one.
CREATE TABLE asks (
  minute  BIGINT NOT NULL,
  team    TEXT NOT NULL,
  route   TEXT NOT NULL,
  code    TEXT NOT NULL,
  count   BIGINT NOT NULL,
  -- In which seconds of the minute: a bit each.
  seconds BIGINT NOT NULL,
  PRIMARY KEY (minute, team, route, code)
);

CREATE VIEW refused AS
SELECT to_timestamp(minute * 60) AS minute, team, route, code, count FROM asks WHERE code <> '';
