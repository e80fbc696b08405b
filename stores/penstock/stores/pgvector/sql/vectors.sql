-- Rows of a collection.

-- name: hold_vector_fence
-- Keeps the row locked until the commit: an owner that comes later waits and then sees this epoch. No row: stale.
INSERT INTO {home}vector_fences (partition, epoch) VALUES ($1, $2)
ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch WHERE vector_fences.epoch <= excluded.epoch
RETURNING epoch;

-- name: vector_fence
SELECT epoch FROM {home}vector_fences WHERE partition = $1;

-- name: put_vectors
INSERT INTO {table} AS e (key, version, record_id, normalised, text, metadata, vector)
SELECT given.*
FROM unnest(
    $1::text [], $2::bigint [], $3::uuid [], $4::boolean [], $5::text [], $6::json [], $7::{extension}vector []
) AS given
ON CONFLICT (key) DO UPDATE SET
    version = excluded.version, record_id = excluded.record_id, normalised = excluded.normalised, text = excluded.text,
    metadata = excluded.metadata, vector = excluded.vector
WHERE e.version < excluded.version;

-- name: vector_versions
SELECT key, version FROM {table} WHERE key = ANY($1::text []);

-- name: vectors_of
SELECT key, version, record_id, normalised, text, metadata, vector
FROM {table}
WHERE key = ANY($1::text []) AND vector IS NOT NULL;

-- name: walk_vectors
SELECT key, version, record_id, normalised, text, metadata, vector
FROM {table}
WHERE $1::text IS NULL OR key > $1
ORDER BY key
LIMIT $2;

-- name: count_vectors
SELECT count(*) FROM {table} WHERE vector IS NOT NULL;
