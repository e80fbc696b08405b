-- The extension, and the schema's own tables. `{home}` and `{extension}` are schemas' names, quoted (`names.py`).

-- name: extension
SELECT n.nspname, e.extversion
FROM pg_extension AS e
JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'vector';

-- name: has_public
SELECT to_regnamespace('public') IS NOT NULL;

-- name: make_extension
CREATE EXTENSION IF NOT EXISTS vector;

-- name: make_extension_in_public
-- Where everybody looks for it. In the first schema of the path it would go with that schema, and all vectors with it.
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

-- name: has_home
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1);

-- name: make_home
CREATE SCHEMA {schema};

-- name: has_vector_migrations
SELECT to_regclass($1 || 'vector_migrations') IS NOT NULL;

-- name: make_vector_migrations
-- A table of their own: the SQL store may have the same schema for its home, or not be in this database at all.
CREATE TABLE {home}vector_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: applied_vector_migrations
SELECT number, checksum FROM {home}vector_migrations;

-- name: note_vector_migration
INSERT INTO {home}vector_migrations (number, name, checksum) VALUES ($1, $2, $3);

-- name: set_up_search
-- Each search is planned for its own filter: one plan for all would take every filter for a rare one. Compiling costs
-- more than the longest scan. The index goes on, in an order that is nearly right, until enough rows pass the filter.
SELECT
    set_config('plan_cache_mode', 'force_custom_plan', $2),
    set_config('jit', 'off', $2),
    set_config('hnsw.iterative_scan', 'relaxed_order', $2),
    set_config('hnsw.ef_search', $1, $2);
