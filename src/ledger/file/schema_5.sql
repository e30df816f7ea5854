-- Version 5 of the ledger: caller keys that are made, replaced and revoked while gateways run. Never a key itself.

-- One row per key that the ledger has a say on: its own, and those of the configuration that were replaced or revoked here. A
-- row is in force whatever the configuration says of the same id.
CREATE TABLE caller_keys (
  id         TEXT PRIMARY KEY,
  team       TEXT NOT NULL,
  -- SHA-256 of the whole key.
  sha256     BLOB NOT NULL CHECK (length(sha256) = 32),
  -- Whether it is the configuration's: then it works only for as long as that lists it.
  in_file    INTEGER NOT NULL,
  -- The first of those that replaced each other.
  lineage    TEXT NOT NULL,
  -- Microseconds since the epoch, as everywhere here.
  added_at   INTEGER NOT NULL,
  -- How long it was made for, in microseconds; null for ever, or where nobody knows.
  made_for   INTEGER,
  -- When it stops working; null for never.
  expires_at INTEGER,
  -- When it was revoked; such a row stays, for a configuration may name the key for as long as it likes.
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_lineage ON caller_keys (lineage);

-- What was done to keys, when, and by whom. Only ever added to.
CREATE TABLE key_events (
  seq        INTEGER PRIMARY KEY,
  at         INTEGER NOT NULL,
  key_id     TEXT NOT NULL,
  team       TEXT NOT NULL,
  kind       TEXT NOT NULL CHECK (kind IN ('added', 'replaced', 'revoked')),
  -- Who: an operator, the admin token, the command line, or the key that replaced itself.
  by         TEXT NOT NULL,
  -- Of 'replaced', the key that takes its place; of 'revoked', why.
  detail     TEXT,
  -- When the key stops working from then on.
  expires_at INTEGER
) STRICT;
CREATE TRIGGER key_events_stay BEFORE DELETE ON key_events BEGIN SELECT raise(ABORT, 'events of keys are only ever added to'); END;
CREATE TRIGGER key_events_stand BEFORE UPDATE ON key_events BEGIN SELECT raise(ABORT, 'events of keys are only ever added to'); END;
