-- Values under keys. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: key_value_columns
SELECT
    k.record_id, k.updated_at, k.stamp, k.namespace, k.key, CAST(k.value AS BLOB), k.expires_at, k.deleted_at,
    k.normalised, k.created_at
FROM key_values AS k

-- name: key_values_of
SELECT
    k.record_id, k.updated_at, k.stamp, k.namespace, k.key, CAST(k.value AS BLOB), k.expires_at, k.deleted_at,
    k.normalised, k.created_at
FROM key_values AS k
WHERE k.namespace = :namespace
    AND k.key IN (SELECT value FROM json_each(:keys))
    AND k.deleted_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > :now_us);

-- name: key_value_rows
-- What is stored under some keys, a JSON array of arrays.
SELECT
    k.record_id, k.updated_at, k.stamp, k.namespace, k.key, CAST(k.value AS BLOB), k.expires_at, k.deleted_at,
    k.normalised, k.created_at
FROM json_each(:keys) AS wanted
CROSS JOIN key_values AS k ON k.namespace = json_extract(wanted.value, '$[0]') AND k.key = json_extract(wanted.value, '$[1]');

-- name: write_key_value
INSERT INTO key_values (
    record_id, updated_at, stamp, namespace, key, value, expires_at, deleted_at, normalised, created_at
) VALUES (
    ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?
)
ON CONFLICT (namespace, key) DO UPDATE SET
    record_id = excluded.record_id, updated_at = excluded.updated_at, stamp = excluded.stamp, value = excluded.value,
    expires_at = excluded.expires_at, deleted_at = excluded.deleted_at, normalised = excluded.normalised,
    created_at = excluded.created_at;
