-- Version 1 of the ledger. Amounts are integers of millionths of a credit, times are microseconds since the
-- epoch (UTC), days are calendar days in the zone that was configured when the hold was taken. For reading
-- by hand there are the views `calls`, `entries`, `open_holds`, `spend_by_day` and `grants`.

-- One row per call: its hold, and once there is one, its ending. `hold_seq` and `end_seq` number both in the one
-- order in which they were written. A call is held once (the key) and ended once (the trigger), whatever the
-- program does.
CREATE TABLE bookings (
  call          INTEGER PRIMARY KEY,
  hold_seq      INTEGER NOT NULL,
  held_at       INTEGER NOT NULL,
  day           TEXT NOT NULL,
  team          TEXT NOT NULL,
  key_id        TEXT NOT NULL,
  route         TEXT NOT NULL,
  request_id    TEXT NOT NULL,
  reserve       INTEGER NOT NULL CHECK (reserve >= 0),
  -- All that follows is null while the call is open.
  end_seq       INTEGER CHECK (end_seq > hold_seq),
  ended_at      INTEGER CHECK ((ended_at IS NULL) = (end_seq IS NULL)),
  kind          TEXT CHECK (kind IN ('settled', 'voided') AND (kind IS NULL) = (end_seq IS NULL)),
  credits       INTEGER CHECK (credits >= 0 AND (credits IS NULL) = (end_seq IS NULL)),
  basis         TEXT CHECK (basis IN ('final', 'estimated')),
  reason        TEXT,
  outcome       TEXT CHECK ((outcome IS NULL) = (end_seq IS NULL)),
  response_id   TEXT,
  input_tokens  INTEGER,
  output_tokens INTEGER,
  -- When the request was handed to the upstream connection; null if it never was.
  sent_at       INTEGER
) STRICT;

-- Empty of calls that are ended when they are merged, which are almost all.
CREATE INDEX open_calls ON bookings (call) WHERE end_seq IS NULL;
CREATE INDEX by_team ON bookings (team, call);

CREATE TRIGGER bookings_are_ended_once_and_never_edited BEFORE UPDATE ON bookings
WHEN OLD.end_seq IS NOT NULL
  OR (NEW.call, NEW.hold_seq, NEW.held_at, NEW.day, NEW.team, NEW.key_id, NEW.route, NEW.request_id, NEW.reserve)
     IS NOT (OLD.call, OLD.hold_seq, OLD.held_at, OLD.day, OLD.team, OLD.key_id, OLD.route, OLD.request_id, OLD.reserve)
BEGIN SELECT RAISE(ABORT, 'ledger entries are never edited'); END;

-- What operators have written: corrections of what a call is booked at, and raised budgets.
CREATE TABLE changes (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  kind        TEXT NOT NULL CHECK (kind IN ('adjusted', 'granted')),
  -- The call that is corrected; null for grants.
  call        INTEGER,
  at          INTEGER NOT NULL,
  -- adjusted: the day of the call; granted: the first day.
  day         TEXT NOT NULL,
  team        TEXT NOT NULL,
  key_id      TEXT,
  route       TEXT,
  request_id  TEXT,
  response_id TEXT,
  -- adjusted: the difference, which may be negative; granted: the rise.
  credits     INTEGER NOT NULL,
  reason      TEXT,
  -- A grant's last day.
  until       TEXT
) STRICT;

CREATE INDEX by_adjusted_call ON changes (call, seq) WHERE kind = 'adjusted';
CREATE INDEX by_grant ON changes (team, until) WHERE kind = 'granted';

CREATE TRIGGER changes_are_never_edited BEFORE UPDATE ON changes
BEGIN SELECT RAISE(ABORT, 'ledger entries are never edited'); END;

-- How far the journal beside this file has been merged: the generation, the byte after the last frame, and the
-- number of the last entry. Written in the transaction that merges, so that no frame is merged twice. `ledger` is
-- drawn once, and stands in the journal too, so that no other ledger takes it for its own.
CREATE TABLE progress (
  ledger     INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  position   INTEGER NOT NULL,
  last_seq   INTEGER NOT NULL
) STRICT;
INSERT INTO progress VALUES (random(), 0, 0, 0);

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
SELECT call,
       datetime(held_at / 1000000, 'unixepoch') AS held_at_utc,
       datetime(ended_at / 1000000, 'unixepoch') AS ended_at_utc,
       day, team, key_id, route, request_id, response_id,
       reserve / 1e6 AS reserved,
       coalesce(kind, 'open') AS state,
       credits / 1e6 + coalesce((SELECT sum(a.credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = bookings.call), 0) / 1e6
         AS credits,
       basis, reason, outcome, input_tokens, output_tokens
FROM bookings;

-- Every entry by itself: holds and endings, numbered in the order of writing, and corrections, which have no number.
CREATE VIEW entries AS
SELECT hold_seq AS seq, 'hold' AS kind, call, held_at AS at, day, team, key_id, route, request_id, NULL AS response_id,
       reserve AS credits, NULL AS basis, NULL AS reason, NULL AS outcome, NULL AS input_tokens, NULL AS output_tokens,
       NULL AS sent_at
FROM bookings
UNION ALL
SELECT end_seq, kind, call, ended_at, day, team, key_id, route, request_id, response_id, credits, basis, reason, outcome,
       input_tokens, output_tokens, sent_at
FROM bookings WHERE end_seq IS NOT NULL
UNION ALL
SELECT NULL, kind, call, at, day, team, key_id, route, request_id, response_id, credits, 'final', reason, NULL, NULL, NULL, NULL
FROM changes WHERE kind = 'adjusted';

-- Calls in flight, or left open by a crash until the next start settles them.
CREATE VIEW open_holds AS
SELECT call, datetime(held_at / 1000000, 'unixepoch') AS held_at_utc, team, key_id, route, request_id,
       reserve / 1e6 AS reserved
FROM bookings WHERE end_seq IS NULL;

-- Credits by day and team; `in_doubt` is what was booked by estimate.
CREATE VIEW spend_by_day AS
SELECT day, team, sum(calls) AS calls, sum(final + estimated) / 1e6 AS credits, sum(estimated) / 1e6 AS in_doubt,
       sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM day_sums GROUP BY day, team;

-- Raised budgets.
CREATE VIEW grants AS
SELECT datetime(at / 1000000, 'unixepoch') AS granted_at_utc, team, credits / 1e6 AS credits, day AS from_day,
       until AS until_day, reason AS why
FROM changes WHERE kind = 'granted';
