-- What a collection needs now and then.

-- name: vector_shape
SELECT count(*) FILTER (WHERE vector IS NOT NULL), count(*) FILTER (WHERE vector IS NULL) FROM {table};

-- name: has_tombstones
SELECT EXISTS (SELECT FROM {table} WHERE vector IS NULL);

-- name: has_more_vectors_than
-- By indexes alone: the vectors themselves would be read with their rows.
SELECT count(*) > $1 + t.tombstones
FROM (SELECT count(*) AS tombstones FROM {table} WHERE vector IS NULL) AS t
CROSS JOIN LATERAL (SELECT FROM {table} LIMIT $1 + t.tombstones + 1) AS first
GROUP BY t.tombstones;

-- name: remove_vector_tombstones
-- What a writer holds stays until another call.
DELETE FROM {table}
WHERE key IN (
    SELECT key FROM {table} WHERE vector IS NULL AND version < $1 ORDER BY key LIMIT $2 FOR UPDATE SKIP LOCKED
);

-- name: take_index_lock
-- One builds the index of a collection. Never waits: one that waits holds a snapshot, and who builds waits for snapshots.
SELECT pg_try_advisory_lock(504627, $1);

-- name: take_index_lock_for_transaction
SELECT pg_try_advisory_xact_lock(504627, $1);

-- name: make_room_for_index
-- An index that does not fit is built on the disk, many times as slowly. What the server allows by itself stays.
SELECT
    set_config('statement_timeout', '0', $2),
    set_config('maintenance_work_mem', greatest($1, setting::bigint) || 'kB', $2)
FROM pg_settings
WHERE name = 'maintenance_work_mem';

-- name: build_alone
-- Workers that help share their memory in /dev/shm, of which a container may have next to nothing.
SELECT set_config('max_parallel_maintenance_workers', '0', false);

-- name: is_index_valid
-- NULL: there is none.
SELECT x.indisvalid FROM pg_index AS x WHERE x.indexrelid = to_regclass($1);

-- name: drop_index
DROP INDEX {concurrently}IF EXISTS {home}{index};

-- name: index_vectors
CREATE INDEX {concurrently}{index} ON {table} USING hnsw (vector {extension}vector_{operators}_ops);

-- name: index_vectors_by_half
CREATE INDEX {concurrently}{index} ON {table}
USING hnsw ((vector::{extension}halfvec({dimension})) {extension}halfvec_{operators}_ops);

-- name: index_metadata
CREATE INDEX {concurrently}{index} ON {table} USING gin ((metadata::jsonb) jsonb_path_ops);

-- name: analyse
-- How rare a value of the metadata is, is known from now on.
ANALYZE {table};
