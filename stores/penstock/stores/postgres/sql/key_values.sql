-- Values under keys. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: key_value_columns
SELECT
    k.record_id, k.updated_at, k.stamp, k.namespace, k.key, k.value, k.expires_at, k.deleted_at, k.normalised,
    k.created_at
FROM key_values AS k

-- name: key_values_of
SELECT
    k.record_id, k.updated_at, k.stamp, k.namespace, k.key, k.value, k.expires_at, k.deleted_at, k.normalised,
    k.created_at
FROM key_values AS k
WHERE k.namespace = :namespace
    AND k.key = ANY(:keys)
    AND k.deleted_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > :now_us);

-- name: key_value_rows
-- What is stored under some keys, locked until the commit.
SELECT
    k.record_id, k.updated_at, k.stamp, k.namespace, k.key, k.value, k.expires_at, k.deleted_at, k.normalised,
    k.created_at
FROM unnest($1::text [], $2::text []) AS wanted (namespace, key)
JOIN key_values AS k ON k.namespace = wanted.namespace AND k.key = wanted.key
ORDER BY k.namespace, k.key
FOR UPDATE OF k;

-- name: insert_key_values
-- Fewer rows than were given: somebody else has made one meanwhile.
INSERT INTO key_values (
    record_id, updated_at, stamp, namespace, key, value, expires_at, deleted_at, normalised, created_at
)
SELECT *
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::text [], $6::json [], $7::timestamptz [],
    $8::timestamptz [], $9::boolean [], $10::timestamptz []
)
ON CONFLICT (namespace, key) DO NOTHING;

-- name: replace_key_values
UPDATE key_values AS k SET
    record_id = given.record_id, updated_at = given.updated_at, stamp = given.stamp, value = given.value,
    expires_at = given.expires_at, deleted_at = given.deleted_at, normalised = given.normalised,
    created_at = given.created_at
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::text [], $6::json [], $7::timestamptz [],
    $8::timestamptz [], $9::boolean [], $10::timestamptz []
) AS given (
    record_id, updated_at, stamp, namespace, key, value, expires_at, deleted_at, normalised, created_at
)
WHERE k.namespace = given.namespace AND k.key = given.key;
