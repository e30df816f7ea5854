-- Version 3 of the ledger: what tells a retry from another call is looked up, and what retries have saved is added up.

-- Of the calls that have a key: what a start looks back on.
CREATE INDEX retries ON bookings (held_at) WHERE retry_key IS NOT NULL;

-- What copies of calls would have cost, by calendar day. Old detail that is pruned takes nothing away from it.
CREATE TABLE savings (
  day     INTEGER NOT NULL,
  team    INTEGER NOT NULL,
  key     INTEGER NOT NULL,
  route   INTEGER NOT NULL,
  copies  INTEGER NOT NULL,
  credits INTEGER NOT NULL,
  PRIMARY KEY (day, team, key, route)
) STRICT, WITHOUT ROWID;

-- Answers that are kept for their copies, sealed: what opens them is not in this file, and not in the gateway's either.
CREATE TABLE answers (
  call       INTEGER PRIMARY KEY,
  -- Microseconds since the epoch.
  kept_until INTEGER NOT NULL,
  sealed     BLOB NOT NULL
) STRICT;
CREATE INDEX answers_by_age ON answers (kept_until);

-- Credits that retries would have cost again, by day and team.
CREATE VIEW saved_by_day AS
SELECT date(day * 86400, 'unixepoch') AS day, t.name AS team, sum(copies) AS copies, sum(credits) / 1e6 AS credits
FROM savings JOIN names t ON t.id = team GROUP BY savings.day, team;
