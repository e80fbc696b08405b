-- Contexts of agents. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: context_columns
SELECT
    c.record_id, c.updated_at, c.stamp, c.id, c.data, c.agent_id, c.session_id, c.expires_at, c.deleted_at,
    c.normalised, c.created_at
FROM contexts AS c

-- name: context_rows
-- What is stored under some keys, locked until the commit.
SELECT
    c.record_id, c.updated_at, c.stamp, c.id, c.data, c.agent_id, c.session_id, c.expires_at, c.deleted_at,
    c.normalised, c.created_at
FROM unnest($1::text []) AS wanted (id)
JOIN contexts AS c ON c.id = wanted.id
ORDER BY c.id
FOR UPDATE OF c;

-- name: insert_contexts
-- Fewer rows than were given: somebody else has made one meanwhile.
INSERT INTO contexts (
    record_id, updated_at, stamp, id, data, agent_id, session_id, expires_at, deleted_at, normalised, created_at
)
SELECT *
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::json [], $6::text [], $7::text [],
    $8::timestamptz [], $9::timestamptz [], $10::boolean [], $11::timestamptz []
)
ON CONFLICT (id) DO NOTHING;

-- name: replace_contexts
UPDATE contexts AS c SET
    record_id = given.record_id, updated_at = given.updated_at, stamp = given.stamp, data = given.data,
    agent_id = given.agent_id, session_id = given.session_id, expires_at = given.expires_at,
    deleted_at = given.deleted_at, normalised = given.normalised, created_at = given.created_at
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::json [], $6::text [], $7::text [],
    $8::timestamptz [], $9::timestamptz [], $10::boolean [], $11::timestamptz []
) AS given (
    record_id, updated_at, stamp, id, data, agent_id, session_id, expires_at, deleted_at, normalised, created_at
)
WHERE c.id = given.id;
