-- Version 1 of the ledger in PostgreSQL. Amounts are integers of millionths of a credit, times are microseconds since the
-- epoch (UTC), days are days since the epoch, of the calendar in the zone that was configured when the hold was taken; as in
-- a ledger's file. For reading by hand there are the views `calls`, `open_holds`, `spend_by_day`, `grants` and `gateways`.

-- The time, in microseconds since the epoch: read here, and nowhere else.
CREATE FUNCTION wall_clock() RETURNS BIGINT LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT $$;

-- One row: the lock that every turn takes, and what it goes on from.
CREATE TABLE gate (
  one            BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
  -- Drawn once: which ledger this is.
  ledger         BIGINT NOT NULL DEFAULT (random() * 9e18)::BIGINT,
  -- The last turn that was taken.
  turn           BIGINT NOT NULL DEFAULT 0,
  -- When the desk's time begins, and how far it has come: it never goes back, whatever the server's clock does.
  began_at       BIGINT NOT NULL DEFAULT wall_clock(),
  clock          BIGINT NOT NULL DEFAULT 0,
  -- Which server took the last turn: one that was promoted may have lost what another had acknowledged.
  server         TEXT NOT NULL DEFAULT '',
  -- Until every gateway has looked, or this moment of the desk's time, nothing is given.
  settling_until BIGINT
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);
INSERT INTO gate DEFAULT VALUES;

-- Gateways. A number is given per start of a process and never again: that is the fence.
CREATE TABLE replicas (
  id          INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        TEXT NOT NULL,
  version     TEXT NOT NULL,
  -- Which form of turns it reads and writes.
  form        INTEGER NOT NULL,
  -- All in microseconds since the epoch by the database's clock.
  started_at  BIGINT NOT NULL,
  lease_until BIGINT NOT NULL,
  -- The last turn that it took, and its own count of them.
  last_turn   BIGINT NOT NULL DEFAULT 0,
  last_batch  BIGINT NOT NULL DEFAULT 0,
  -- The server that it has looked at, after a promotion.
  looked_at   TEXT NOT NULL DEFAULT '',
  -- Calls under way, and calls that wait, as it last said.
  in_flight   INTEGER NOT NULL DEFAULT 0,
  waiting     INTEGER NOT NULL DEFAULT 0,
  -- When it went, and whether it said so itself or its lease was over.
  gone_at     BIGINT,
  is_lost     BOOLEAN NOT NULL DEFAULT false
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);

-- What each turn was: who took it, when, and all that was said at the desk, in order, with what it said to it. Each gateway
-- reads them all, and has the same desk.
CREATE TABLE turns (
  turn    BIGINT PRIMARY KEY,
  replica INTEGER NOT NULL,
  batch   BIGINT NOT NULL,
  clock   BIGINT NOT NULL,
  body    BYTEA NOT NULL
);
ALTER TABLE turns ALTER COLUMN body SET STORAGE EXTERNAL;

-- The desk as it was behind a turn, for gateways that start.
CREATE TABLE desks (
  turn BIGINT PRIMARY KEY,
  body BYTEA NOT NULL
);

-- One row per call: its hold, and once there is one, its ending. `held_in` and `ended_in` are the turns.
CREATE TABLE bookings (
  call          BIGINT PRIMARY KEY,
  replica       INTEGER NOT NULL,
  held_in       BIGINT NOT NULL,
  held_at       BIGINT NOT NULL,
  day           INTEGER NOT NULL,
  team          TEXT NOT NULL,
  key_id        TEXT NOT NULL,
  member        TEXT NOT NULL DEFAULT '',
  route         TEXT NOT NULL,
  request_id    TEXT NOT NULL,
  reserve       BIGINT NOT NULL CHECK (reserve >= 0),
  -- Digests: of the key that names a call and its retries, and of what was asked. Null where nothing names it.
  retry_key     BYTEA,
  fingerprint   BYTEA CHECK ((fingerprint IS NULL) = (retry_key IS NULL)),
  -- All that follows is null while the call is open.
  ended_in      BIGINT,
  ended_at      BIGINT CHECK ((ended_at IS NULL) = (ended_in IS NULL)),
  -- 0 voided, 1 settled at the upstream's figure, 2 by estimate, 3 as it follows from the upstream's bill.
  kind          SMALLINT CHECK (kind BETWEEN 0 AND 3 AND (kind IS NULL) = (ended_in IS NULL)),
  credits       BIGINT CHECK (credits >= 0 AND (credits IS NULL) = (ended_in IS NULL)),
  reason        TEXT,
  outcome       TEXT CHECK ((outcome IS NULL) = (ended_in IS NULL)),
  response_id   TEXT,
  input_tokens  BIGINT,
  output_tokens BIGINT,
  -- When the request was handed to the upstream connection; null if it never was.
  sent_at       BIGINT
) WITH (fillfactor = 80);
CREATE INDEX open_calls ON bookings (replica) WHERE ended_in IS NULL;
CREATE INDEX by_team ON bookings (team, call);
CREATE INDEX retries ON bookings (held_at) WHERE retry_key IS NOT NULL;

-- What operators have written: corrections of what a call is booked at, and raised budgets; and what gateways found out of jobs.
CREATE TABLE changes (
  seq         BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  kind        TEXT NOT NULL CHECK (kind IN ('adjusted', 'granted')),
  -- adjusted: the call that is corrected; granted: the number of the grant that is taken back, null for one that is given.
  call        BIGINT,
  at          BIGINT NOT NULL,
  -- adjusted: the day of the call; granted: the first day, or the one on which it was taken back.
  day         INTEGER NOT NULL,
  team        TEXT NOT NULL,
  key_id      TEXT,
  route       TEXT,
  request_id  TEXT,
  response_id TEXT,
  -- adjusted: the difference, which may be negative; granted: the rise.
  credits     BIGINT NOT NULL,
  reason      TEXT,
  -- A grant's last day.
  until       INTEGER,
  -- What a correction rests on: null for the upstream's list, by an operator's hand; else what a gateway has found out of a
  -- job ('final', 'derived'), or that a call which was given up as lost has ended after all ('late').
  basis       TEXT CHECK (basis IN ('final', 'derived', 'late'))
);
CREATE INDEX by_adjusted_call ON changes (call, seq) WHERE kind = 'adjusted';
CREATE INDEX by_grant ON changes (team, until) WHERE kind = 'granted';

-- What was settled and adjusted, by calendar day: budgets of any period are sums of days.
CREATE TABLE day_sums (
  day           INTEGER NOT NULL,
  team          TEXT NOT NULL,
  key_id        TEXT NOT NULL,
  member        TEXT NOT NULL,
  route         TEXT NOT NULL,
  outcome       TEXT NOT NULL,
  calls         BIGINT NOT NULL,
  final         BIGINT NOT NULL,
  estimated     BIGINT NOT NULL,
  input_tokens  BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL,
  -- What corrections have added to `final` and `estimated`.
  adjusted_final     BIGINT NOT NULL DEFAULT 0,
  adjusted_estimated BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (day, team, key_id, member, route, outcome)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What copies of calls would have cost, by calendar day.
CREATE TABLE savings (
  day     INTEGER NOT NULL,
  team    TEXT NOT NULL,
  key_id  TEXT NOT NULL,
  route   TEXT NOT NULL,
  copies  BIGINT NOT NULL,
  credits BIGINT NOT NULL,
  PRIMARY KEY (day, team, key_id, route)
);

-- Answers that are kept for their copies, sealed: what opens them is not here, and not in the gateways either.
CREATE TABLE answers (
  call       BIGINT PRIMARY KEY,
  kept_until BIGINT NOT NULL,
  sealed     BYTEA NOT NULL
);
CREATE INDEX answers_by_age ON answers (kept_until);

-- One row per job. `state`: 0 it goes on; 1 it is over; 2 nobody has seen its end.
CREATE TABLE jobs (
  -- The call that began it.
  call        BIGINT PRIMARY KEY,
  -- The upstream's id of it; null where its answer was lost.
  upstream_id TEXT,
  team        TEXT NOT NULL,
  key_id      TEXT NOT NULL,
  route       TEXT NOT NULL,
  -- The day it is booked on, and what is booked until its cost is known.
  day         INTEGER NOT NULL,
  reserve     BIGINT NOT NULL,
  began_at    BIGINT NOT NULL,
  state       SMALLINT NOT NULL CHECK (state BETWEEN 0 AND 2),
  seen_at     BIGINT NOT NULL,
  -- What it cost, once that is known, and whether that follows from the upstream's bill.
  credits     BIGINT,
  derived     BOOLEAN NOT NULL DEFAULT false
);
CREATE INDEX unsettled_jobs ON jobs (call) WHERE credits IS NULL OR state = 0;

-- What was made through the gateways, and by which team first.
CREATE TABLE things (
  seq     BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  kind    TEXT NOT NULL,
  id      TEXT NOT NULL,
  team    TEXT NOT NULL,
  made_at BIGINT NOT NULL,
  UNIQUE (kind, id)
);

-- One row per key that the ledger has a say on. A row is in force whatever the configuration says of the same id.
CREATE TABLE caller_keys (
  id         TEXT PRIMARY KEY,
  team       TEXT NOT NULL,
  -- SHA-256 of the whole key.
  sha256     BYTEA NOT NULL CHECK (length(sha256) = 32),
  in_file    BOOLEAN NOT NULL,
  lineage    TEXT NOT NULL,
  added_at   BIGINT NOT NULL,
  made_for   BIGINT,
  expires_at BIGINT,
  revoked_at BIGINT
);
CREATE INDEX keys_by_lineage ON caller_keys (lineage);

-- What was done to keys, when, and by whom. Only ever added to.
CREATE TABLE key_events (
  seq        BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  at         BIGINT NOT NULL,
  key_id     TEXT NOT NULL,
  team       TEXT NOT NULL,
  kind       TEXT NOT NULL CHECK (kind IN ('added', 'replaced', 'revoked')),
  by         TEXT NOT NULL,
  detail     TEXT,
  expires_at BIGINT
);

-- Before which day entries have been removed: sums of earlier days stand without them.
CREATE TABLE pruned (before INTEGER NOT NULL);

-- A call is held once (the key) and ended once, whatever the program does, and nothing that was written is edited.
CREATE FUNCTION entry_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'ledger entries are never edited'; END $$;
CREATE TRIGGER bookings_are_ended_once_and_never_edited BEFORE UPDATE ON bookings FOR EACH ROW
WHEN (OLD.ended_in IS NOT NULL
  OR (NEW.call, NEW.replica, NEW.held_in, NEW.held_at, NEW.day, NEW.team, NEW.key_id, NEW.member, NEW.route, NEW.request_id,
      NEW.reserve, NEW.retry_key, NEW.fingerprint)
     IS DISTINCT FROM
     (OLD.call, OLD.replica, OLD.held_in, OLD.held_at, OLD.day, OLD.team, OLD.key_id, OLD.member, OLD.route, OLD.request_id,
      OLD.reserve, OLD.retry_key, OLD.fingerprint))
EXECUTE FUNCTION entry_is_final();
CREATE TRIGGER changes_are_never_edited BEFORE UPDATE ON changes FOR EACH ROW EXECUTE FUNCTION entry_is_final();
CREATE TRIGGER key_events_are_never_edited BEFORE UPDATE OR DELETE ON key_events FOR EACH ROW EXECUTE FUNCTION entry_is_final();

CREATE VIEW calls AS
SELECT call, to_timestamp(held_at / 1e6) AS held_at, to_timestamp(ended_at / 1e6) AS ended_at, DATE '1970-01-01' + day AS day,
       team, key_id, route, request_id, response_id, reserve / 1e6 AS reserved,
       CASE WHEN kind IS NULL THEN 'open' WHEN kind = 0 THEN 'voided' ELSE 'settled' END AS state,
       (credits + coalesce((SELECT sum(a.credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0)) / 1e6
         AS credits,
       CASE kind WHEN 1 THEN 'final' WHEN 2 THEN 'estimated' WHEN 3 THEN 'derived' END AS basis,
       reason, outcome, input_tokens, output_tokens, replica
FROM bookings b;
CREATE VIEW open_holds AS
SELECT call, to_timestamp(held_at / 1e6) AS held_at, team, key_id, route, request_id, reserve / 1e6 AS reserved, replica
FROM bookings WHERE ended_in IS NULL;
CREATE VIEW spend_by_day AS
SELECT DATE '1970-01-01' + day AS day, team, sum(calls) AS calls, sum(final + estimated) / 1e6 AS credits,
       sum(estimated) / 1e6 AS in_doubt, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM day_sums GROUP BY 1, 2;
CREATE VIEW grants AS
SELECT to_timestamp(at / 1e6) AS granted_at, team, credits / 1e6 AS credits, DATE '1970-01-01' + day AS from_day,
       DATE '1970-01-01' + until AS until_day, reason AS why
FROM changes WHERE kind = 'granted';
CREATE VIEW gateways AS
SELECT id, name, version, to_timestamp(started_at / 1e6) AS started_at, to_timestamp(lease_until / 1e6) AS lease_until,
       CASE WHEN gone_at IS NULL THEN 'running' WHEN is_lost THEN 'lost' ELSE 'stopped' END AS state, in_flight, waiting
FROM replicas;
