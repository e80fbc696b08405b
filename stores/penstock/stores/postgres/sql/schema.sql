-- The schema's own table.

-- name: take_migration_lock
-- Never waits: one that waits holds a snapshot, and building an index concurrently waits for snapshots to end.
-- The number is arbitrary, and the same in every release. The commit lets go of it.
SELECT pg_try_advisory_xact_lock(5046264823);

-- name: bound_ddl_waits
-- What waits for a table lock stops everybody who comes after it.
SET LOCAL lock_timeout = '5s';

-- name: has_schema_table
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: make_schema_table
CREATE TABLE schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: applied_migrations
SELECT number, checksum FROM schema_migrations;

-- name: note_migration
INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3);

-- name: schema_version
SELECT max(number) FROM schema_migrations;
