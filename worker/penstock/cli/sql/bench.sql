-- What `penstock bench` does past the store: into tables that the store has just made and that are removed afterwards.

-- name: bare_sqlite_session
INSERT INTO sessions (no, id, message_count, first_message_at, last_message_at, last_message_id)
VALUES (?, ?, 0, 0, 0, x'00');

-- name: bare_sqlite_message
INSERT INTO messages (id, session_no, created_at, role, content, version, normalised)
VALUES (?, ?, ?, 'user', ?, 0, 0) ON CONFLICT (id) DO NOTHING;

-- name: make_postgres_schema
-- Where it says {schema}, a name that was made up for one run.
CREATE SCHEMA {schema};

-- name: drop_postgres_schema
DROP SCHEMA IF EXISTS {schema} CASCADE;
