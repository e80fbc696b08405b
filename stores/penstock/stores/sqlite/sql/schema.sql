-- The schema's own table.

-- name: has_schema_table
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations';

-- name: make_schema_table
CREATE TABLE IF NOT EXISTS schema_migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);

-- name: applied_migrations
SELECT number, checksum FROM schema_migrations;

-- name: note_migration
INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4);

-- name: schema_version
SELECT max(number) FROM schema_migrations;
