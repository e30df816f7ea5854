-- Version 4 of the ledger: jobs, whose cost is known after the call that began them has ended, and whose things are.

-- One row per job. `state`: 0 it goes on; 1 it is over; 2 nobody has seen its end.
CREATE TABLE jobs (
  -- The call that began it.
  call        INTEGER PRIMARY KEY,
  -- The upstream's id of it; null where its answer was lost.
  upstream_id TEXT,
  team        INTEGER NOT NULL,
  key         INTEGER NOT NULL,
  route       INTEGER NOT NULL,
  -- The day it is booked on, in days since the epoch, and what is booked until its cost is known.
  day         INTEGER NOT NULL,
  reserve     INTEGER NOT NULL,
  began_at    INTEGER NOT NULL,
  state       INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
  -- When something was last written of it.
  seen_at     INTEGER NOT NULL,
  -- What it cost, once that is known, and whether that follows from the upstream's bill.
  credits     INTEGER,
  derived     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX unsettled_jobs ON jobs (call) WHERE credits IS NULL OR state = 0;

-- What was made through the gateway, and by which team first: analyses, focus groups, files, threads.
CREATE TABLE things (
  seq     INTEGER PRIMARY KEY,
  kind    TEXT NOT NULL,
  id      TEXT NOT NULL,
  team    INTEGER NOT NULL,
  made_at INTEGER NOT NULL,
  UNIQUE (kind, id)
) STRICT;

-- What a correction rests on: null for the upstream's list, by an operator's hand; else what a gateway has found out of a job:
-- 'final' its figure, 'derived' that the upstream's bill can be explained by it only.
ALTER TABLE changes ADD COLUMN basis TEXT CHECK (basis IN ('final', 'derived'));

DROP VIEW calls;
CREATE VIEW calls AS
SELECT call,
       datetime(held_at / 1000000, 'unixepoch') AS held_at_utc,
       datetime(ended_at / 1000000, 'unixepoch') AS ended_at_utc,
       date(day * 86400, 'unixepoch') AS day, t.name AS team, k.name AS key_id, r.name AS route, request_id, response_id,
       reserve / 1e6 AS reserved,
       CASE WHEN kind IS NULL THEN 'open' WHEN kind = 0 THEN 'voided' ELSE 'settled' END AS state,
       credits / 1e6 + coalesce((SELECT sum(a.credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = bookings.call), 0) / 1e6
         AS credits,
       coalesce((SELECT a.basis FROM changes a WHERE a.kind = 'adjusted' AND a.call = bookings.call
                 ORDER BY a.seq DESC LIMIT 1),
                CASE kind WHEN 1 THEN 'final' WHEN 2 THEN 'estimated' WHEN 3 THEN 'derived' END) AS basis,
       w.name AS reason, o.name AS outcome, input_tokens, output_tokens
FROM bookings
JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
LEFT JOIN names w ON w.id = bookings.reason LEFT JOIN names o ON o.id = bookings.outcome;

DROP VIEW entries;
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
SELECT NULL, kind, call, at, day, team, key_id, route, request_id, response_id, credits, coalesce(basis, 'final'), reason,
       NULL, NULL, NULL, NULL
FROM changes WHERE kind = 'adjusted';

-- Jobs, to be read by hand.
CREATE VIEW job_list AS
SELECT call, upstream_id, t.name AS team, k.name AS key_id, r.name AS route, datetime(began_at / 1000000, 'unixepoch') AS began_at_utc,
       CASE state WHEN 0 THEN 'running' WHEN 1 THEN 'over' ELSE 'given up' END AS state,
       datetime(seen_at / 1000000, 'unixepoch') AS seen_at_utc, reserve / 1e6 AS reserved, credits / 1e6 AS credits,
       CASE WHEN credits IS NULL THEN 'estimated' WHEN derived THEN 'derived' ELSE 'final' END AS basis
FROM jobs JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route;
