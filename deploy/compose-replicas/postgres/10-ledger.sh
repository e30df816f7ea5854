#!/bin/bash
# Runs once, when the database is made: a role that owns the ledger's database and nothing else, and may see the standbys.
set -euo pipefail

psql --set=ON_ERROR_STOP=1 --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --set=password="$(</run/secrets/postgres-ledger-password)" <<'SQL'
CREATE ROLE mavera LOGIN PASSWORD :'password';
GRANT pg_read_all_stats TO mavera;
CREATE DATABASE mavera OWNER mavera;
REVOKE ALL ON DATABASE mavera FROM PUBLIC;
SQL
