-- Version 2 of the ledger. Amounts are integers of millionths of a credit, times are microseconds since the epoch (UTC),
-- days are days since the epoch, of the calendar in the zone that was configured when the hold was taken. For reading by
-- hand there are the views `calls`, `entries`, `open_holds`, `spend_by_day` and `grants`, which are as they were.

DROP VIEW calls;
DROP VIEW entries;
DROP VIEW open_holds;
DROP VIEW spend_by_day;
DROP TRIGGER bookings_are_ended_once_and_never_edited;
DROP INDEX open_calls;
DROP INDEX by_team;
ALTER TABLE bookings RENAME TO bookings_1;
ALTER TABLE day_sums RENAME TO day_sums_1;

-- What many rows have in common, by number: teams, keys, members, routes, outcomes, reasons. 0 is none.
CREATE TABLE names (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO names VALUES (0, '');
INSERT OR IGNORE INTO names (name)
SELECT team FROM bookings_1 UNION SELECT key_id FROM bookings_1 UNION SELECT route FROM bookings_1
UNION SELECT outcome FROM bookings_1 WHERE outcome IS NOT NULL UNION SELECT reason FROM bookings_1 WHERE reason IS NOT NULL
UNION SELECT team FROM day_sums_1 UNION SELECT key_id FROM day_sums_1 UNION SELECT route FROM day_sums_1
UNION SELECT outcome FROM day_sums_1;

-- One row per call: its hold, and once there is one, its ending. `hold_seq` and `end_seq` number both in the one
-- order in which they were written. A call is held once (the key) and ended once (the trigger), whatever the
-- program does.
CREATE TABLE bookings (
  call          INTEGER PRIMARY KEY,
  hold_seq      INTEGER NOT NULL,
  held_at       INTEGER NOT NULL,
  day           INTEGER NOT NULL,
  team          INTEGER NOT NULL,
  key           INTEGER NOT NULL,
  member        INTEGER NOT NULL,
  route         INTEGER NOT NULL,
  request_id    TEXT NOT NULL,
  reserve       INTEGER NOT NULL CHECK (reserve >= 0),
  -- Digests: of the key that names a call and its retries, and of what was asked. Null where nothing names it.
  retry_key     BLOB,
  fingerprint   BLOB CHECK ((fingerprint IS NULL) = (retry_key IS NULL)),
  -- Which of several gateways wrote it.
  replica       INTEGER NOT NULL,
  -- All that follows is null while the call is open.
  end_seq       INTEGER CHECK (end_seq > hold_seq),
  ended_at      INTEGER CHECK ((ended_at IS NULL) = (end_seq IS NULL)),
  -- 0 voided, 1 settled at the upstream's figure, 2 by estimate, 3 as it follows from the upstream's bill.
  kind          INTEGER CHECK (kind BETWEEN 0 AND 3 AND (kind IS NULL) = (end_seq IS NULL)),
  credits       INTEGER CHECK (credits >= 0 AND (credits IS NULL) = (end_seq IS NULL)),
  reason        INTEGER,
  outcome       INTEGER CHECK ((outcome IS NULL) = (end_seq IS NULL)),
  response_id   TEXT,
  input_tokens  INTEGER,
  output_tokens INTEGER,
  -- When the request was handed to the upstream connection; null if it never was.
  sent_at       INTEGER
) STRICT;

INSERT INTO bookings
SELECT call, hold_seq, held_at, unixepoch(day) / 86400, t.id, k.id, 0, r.id, request_id, reserve, NULL, NULL, 0,
       end_seq, ended_at,
       CASE WHEN kind = 'voided' THEN 0 WHEN basis = 'final' THEN 1 WHEN basis = 'estimated' THEN 2 END,
       credits, w.id, o.id, response_id, input_tokens, output_tokens, sent_at
FROM bookings_1
JOIN names t ON t.name = team JOIN names k ON k.name = key_id JOIN names r ON r.name = route
LEFT JOIN names w ON w.name = reason LEFT JOIN names o ON o.name = outcome;
DROP TABLE bookings_1;

-- Empty of calls that are ended when they are merged, which are almost all.
CREATE INDEX open_calls ON bookings (call) WHERE end_seq IS NULL;
CREATE INDEX by_team ON bookings (team, call);

CREATE TRIGGER bookings_are_ended_once_and_never_edited BEFORE UPDATE ON bookings
WHEN OLD.end_seq IS NOT NULL
  OR (NEW.call, NEW.hold_seq, NEW.held_at, NEW.day, NEW.team, NEW.key, NEW.member, NEW.route, NEW.request_id, NEW.reserve,
      NEW.retry_key, NEW.fingerprint, NEW.replica)
     IS NOT (OLD.call, OLD.hold_seq, OLD.held_at, OLD.day, OLD.team, OLD.key, OLD.member, OLD.route, OLD.request_id,
             OLD.reserve, OLD.retry_key, OLD.fingerprint, OLD.replica)
BEGIN SELECT RAISE(ABORT, 'ledger entries are never edited'); END;

-- What was settled and adjusted, by calendar day: budgets of any period are sums of days.
CREATE TABLE day_sums (
  day           INTEGER NOT NULL,
  team          INTEGER NOT NULL,
  key           INTEGER NOT NULL,
  member        INTEGER NOT NULL,
  route         INTEGER NOT NULL,
  outcome       INTEGER NOT NULL,
  calls         INTEGER NOT NULL,
  final         INTEGER NOT NULL,
  estimated     INTEGER NOT NULL,
  input_tokens  INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  -- What corrections have added to `final` and `estimated`; counters continue without them, because they never fall.
  adjusted_final     INTEGER NOT NULL DEFAULT 0,
  adjusted_estimated INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (day, team, key, member, route, outcome)
) STRICT, WITHOUT ROWID;

INSERT INTO day_sums
SELECT unixepoch(day) / 86400, t.id, k.id, 0, r.id, o.id, calls, final, estimated, input_tokens, output_tokens,
       adjusted_final, adjusted_estimated
FROM day_sums_1
JOIN names t ON t.name = team JOIN names k ON k.name = key_id JOIN names r ON r.name = route
JOIN names o ON o.name = outcome;
DROP TABLE day_sums_1;
-- A call that never left for the upstream is counted no longer.
UPDATE day_sums SET calls = day_sums.calls - never_left.count
FROM (SELECT day, team, key, member, route, outcome, count(*) AS count FROM bookings
      WHERE reason = (SELECT id FROM names WHERE name = 'never_sent') GROUP BY day, team, key, member, route, outcome) AS never_left
WHERE (day_sums.day, day_sums.team, day_sums.key, day_sums.member, day_sums.route, day_sums.outcome)
    = (never_left.day, never_left.team, never_left.key, never_left.member, never_left.route, never_left.outcome);

-- All that was counted before day `rolled.before`, so that a start need not read every day there ever was. Corrections are
-- not counted.
CREATE TABLE totals (
  team          INTEGER NOT NULL,
  route         INTEGER NOT NULL,
  final         INTEGER NOT NULL,
  estimated     INTEGER NOT NULL,
  input_tokens  INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  PRIMARY KEY (team, route)
) STRICT, WITHOUT ROWID;
CREATE TABLE rolled (before INTEGER NOT NULL) STRICT;
INSERT INTO rolled VALUES (-9999999);

-- One line per call: what was held, what it came to, and why.
CREATE VIEW calls AS
SELECT call,
       datetime(held_at / 1000000, 'unixepoch') AS held_at_utc,
       datetime(ended_at / 1000000, 'unixepoch') AS ended_at_utc,
       date(day * 86400, 'unixepoch') AS day, t.name AS team, k.name AS key_id, r.name AS route, request_id, response_id,
       reserve / 1e6 AS reserved,
       CASE WHEN kind IS NULL THEN 'open' WHEN kind = 0 THEN 'voided' ELSE 'settled' END AS state,
       credits / 1e6 + coalesce((SELECT sum(a.credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = bookings.call), 0) / 1e6
         AS credits,
       CASE kind WHEN 1 THEN 'final' WHEN 2 THEN 'estimated' WHEN 3 THEN 'derived' END AS basis,
       w.name AS reason, o.name AS outcome, input_tokens, output_tokens
FROM bookings
JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
LEFT JOIN names w ON w.id = bookings.reason LEFT JOIN names o ON o.id = bookings.outcome;

-- Every entry by itself: holds and endings, numbered in the order of writing, and corrections, which have no number.
CREATE VIEW entries AS
SELECT hold_seq AS seq, 'hold' AS kind, call, held_at AS at, date(day * 86400, 'unixepoch') AS day, t.name AS team,
       k.name AS key_id, r.name AS route, request_id, NULL AS response_id, reserve AS credits, NULL AS basis, NULL AS reason,
       NULL AS outcome, NULL AS input_tokens, NULL AS output_tokens, NULL AS sent_at
FROM bookings JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
UNION ALL
SELECT end_seq, CASE bookings.kind WHEN 0 THEN 'voided' ELSE 'settled' END, call, ended_at, date(day * 86400, 'unixepoch'),
       t.name, k.name, r.name, request_id, response_id, credits,
       CASE bookings.kind WHEN 1 THEN 'final' WHEN 2 THEN 'estimated' WHEN 3 THEN 'derived' END, w.name, o.name, input_tokens,
       output_tokens, sent_at
FROM bookings JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
LEFT JOIN names w ON w.id = bookings.reason JOIN names o ON o.id = bookings.outcome
WHERE end_seq IS NOT NULL
UNION ALL
SELECT NULL, kind, call, at, day, team, key_id, route, request_id, response_id, credits, 'final', reason, NULL, NULL, NULL, NULL
FROM changes WHERE kind = 'adjusted';

-- Calls in flight, or left open by a crash until the next start settles them.
CREATE VIEW open_holds AS
SELECT call, datetime(held_at / 1000000, 'unixepoch') AS held_at_utc, t.name AS team, k.name AS key_id, r.name AS route,
       request_id, reserve / 1e6 AS reserved
FROM bookings JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
WHERE end_seq IS NULL;

-- Credits by day and team; `in_doubt` is what was booked by estimate.
CREATE VIEW spend_by_day AS
SELECT date(day * 86400, 'unixepoch') AS day, t.name AS team, sum(calls) AS calls, sum(final + estimated) / 1e6 AS credits,
       sum(estimated) / 1e6 AS in_doubt, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM day_sums JOIN names t ON t.id = team GROUP BY day_sums.day, team;
