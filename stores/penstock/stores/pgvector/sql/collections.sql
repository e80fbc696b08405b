-- Collections, by name. What is written or dropped holds its collection's row, so the two never meet.

-- name: collection
-- And of which metrics it has an index that answers.
SELECT
    c.number,
    c.dimension,
    ARRAY(
        SELECT replace(i.relname, format('vectors_%s_', c.number), '')
        FROM pg_index AS x
        JOIN pg_class AS i ON i.oid = x.indexrelid
        WHERE x.indrelid = to_regclass($2 || 'vectors_' || c.number) AND x.indisvalid
    ) AS indexes
FROM {home}vector_collections AS c
WHERE c.name = $1;

-- name: collection_names
SELECT name FROM {home}vector_collections ORDER BY name;

-- name: hold_collections
-- Locked against being dropped until the commit, and in one order: two batches of several would wait for each other.
SELECT name, number, dimension FROM {home}vector_collections WHERE name = ANY($1::text []) ORDER BY name FOR KEY SHARE;

-- name: note_collection
-- No row: somebody else has just made it.
INSERT INTO {home}vector_collections (name, dimension) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING number;

-- name: make_collection
-- A row holds its vector itself, not a pointer to pieces of 2 KB: a search without an index reads 1,536 numbers three
-- times as fast. What does not fit a page still goes out of the row. Metadata is json, as what comes back must be what was
-- sent; `search.sql` tells of its index. A row without a vector is a tombstone.
CREATE TABLE {table} (
    key text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    record_id uuid NOT NULL,
    normalised boolean NOT NULL,
    text text,
    metadata json,
    vector {extension}vector({dimension})
) WITH (toast_tuple_target = 8160);

-- name: index_tombstones
CREATE INDEX vectors_{number}_tombstones ON {table} (version) WHERE vector IS NULL;

-- name: forget_collection
DELETE FROM {home}vector_collections WHERE name = $1 RETURNING number;

-- name: drop_collection
DROP TABLE IF EXISTS {table};
