-- Version 1 of the ledger. Amounts are integers of millionths of a credit, times are microseconds since the
-- epoch (UTC), days are calendar days in the zone that was configured when the hold was taken. For reading
-- by hand there are the views `calls`, `open_holds`, `spend_by_day` and `grants`.

-- Every entry, in the order of writing. Entries are never changed.
CREATE TABLE entries (
  seq           INTEGER PRIMARY KEY AUTOINCREMENT,
  kind          TEXT NOT NULL CHECK (kind IN ('hold', 'settled', 'voided', 'adjusted', 'granted')),
  -- Joins a hold and its ending; null for grants and for adjustments of no single call.
  call          INTEGER,
  at            INTEGER NOT NULL,
  day           TEXT NOT NULL,
  team          TEXT NOT NULL,
  key_id        TEXT,
  route         TEXT,
  request_id    TEXT,
  response_id   TEXT,
  -- hold: the reserve; settled: what was booked; adjusted: the correction, which may be negative; granted: the rise.
  credits       INTEGER NOT NULL,
  basis         TEXT CHECK (basis IN ('final', 'estimated')),
  reason        TEXT,
  outcome       TEXT,
  input_tokens  INTEGER,
  output_tokens INTEGER,
  -- When a request was handed to the upstream connection; null if it never was.
  sent_at       INTEGER,
  -- A grant's last day.
  until         TEXT
) STRICT;

-- A call is held once and ended once, whatever the program does.
CREATE UNIQUE INDEX one_hold ON entries (call) WHERE kind = 'hold';
CREATE UNIQUE INDEX one_ending ON entries (call) WHERE kind IN ('settled', 'voided');
CREATE INDEX by_response ON entries (response_id) WHERE response_id IS NOT NULL;
CREATE INDEX by_team ON entries (team, seq) WHERE kind IN ('settled', 'voided');
CREATE INDEX adjustments ON entries (seq) WHERE kind = 'adjusted';
CREATE INDEX by_adjustment ON entries (call, seq) WHERE kind = 'adjusted';
CREATE INDEX by_grant ON entries (team, until) WHERE kind = 'granted';

CREATE TRIGGER entries_are_never_edited BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never edited'); END;

-- Holds without an ending, so that a start need not look at every entry.
CREATE TABLE open_calls (
  call INTEGER PRIMARY KEY
) STRICT;

-- Before which day entries have been removed: sums of earlier days stand without them.
CREATE TABLE pruned (
  before TEXT NOT NULL
) STRICT;

-- What was settled and adjusted, by calendar day: budgets of any period are sums of days.
CREATE TABLE day_sums (
  day           TEXT NOT NULL,
  team          TEXT NOT NULL,
  key_id        TEXT NOT NULL,
  route         TEXT NOT NULL,
  outcome       TEXT NOT NULL,
  calls         INTEGER NOT NULL,
  final         INTEGER NOT NULL,
  estimated     INTEGER NOT NULL,
  input_tokens  INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  -- What corrections have added to `final` and `estimated`; counters continue without them, because they never fall.
  adjusted_final     INTEGER NOT NULL DEFAULT 0,
  adjusted_estimated INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (day, team, key_id, route, outcome)
) STRICT, WITHOUT ROWID;

-- One line per call: what was held, what it came to, and why.
CREATE VIEW calls AS
SELECT h.call,
       datetime(h.at / 1000000, 'unixepoch') AS held_at_utc,
       datetime(e.at / 1000000, 'unixepoch') AS ended_at_utc,
       h.day, h.team, h.key_id, h.route, h.request_id, e.response_id,
       h.credits / 1e6 AS reserved,
       coalesce(e.kind, 'open') AS state,
       CASE e.kind WHEN 'settled' THEN e.credits / 1e6 WHEN 'voided' THEN 0.0 END
         + coalesce((SELECT sum(a.credits) FROM entries a WHERE a.kind = 'adjusted' AND a.call = h.call), 0) / 1e6 AS credits,
       e.basis, e.reason, e.outcome, e.input_tokens, e.output_tokens
FROM entries h
LEFT JOIN entries e ON e.call = h.call AND e.kind IN ('settled', 'voided')
WHERE h.kind = 'hold';

-- Calls in flight, or left open by a crash until the next start settles them.
CREATE VIEW open_holds AS
SELECT h.call, datetime(h.at / 1000000, 'unixepoch') AS held_at_utc, h.team, h.key_id, h.route, h.request_id,
       h.credits / 1e6 AS reserved
FROM open_calls o JOIN entries h ON h.call = o.call AND h.kind = 'hold';

-- Credits by day and team; `in_doubt` is what was booked by estimate.
CREATE VIEW spend_by_day AS
SELECT day, team, sum(calls) AS calls, sum(final + estimated) / 1e6 AS credits, sum(estimated) / 1e6 AS in_doubt,
       sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM day_sums GROUP BY day, team;

-- Raised budgets.
CREATE VIEW grants AS
SELECT datetime(at / 1000000, 'unixepoch') AS granted_at_utc, team, credits / 1e6 AS credits, day AS from_day,
       until AS until_day, reason AS why
FROM entries WHERE kind = 'granted';
