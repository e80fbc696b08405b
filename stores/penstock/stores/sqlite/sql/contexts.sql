-- Contexts of agents. Columns come in the order of the record's fields (`penstock.wire.records`).
-- For the ways of reading see `messages.sql`.

-- name: context_columns
SELECT
    c.record_id, c.updated_at, c.stamp, c.id, CAST(c.data AS BLOB), c.agent_id, c.session_id, c.expires_at,
    c.deleted_at, c.normalised, c.created_at
FROM contexts AS c

-- name: context_count
SELECT count(*) FROM contexts AS c

-- name: context_id
c.id = :id AND c.deleted_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > :now_us)

-- name: context_is_agent_id
c.agent_id = :agent_id

-- name: context_is_session_id
c.session_id = :session_id

-- name: context_is_since_us
c.created_at >= :since_us

-- name: context_is_until_us
c.created_at < :until_us

-- name: context_is_now_us
(c.expires_at IS NULL OR c.expires_at > :now_us)

-- name: context_filtered
c.data

-- name: context_kept
c.deleted_at IS NULL

-- name: context_after_ascending
(c.created_at, c.id) > (:at_us, :at_id)

-- name: context_after_descending
(c.created_at, c.id) < (:at_us, :at_id)

-- name: context_order_ascending
ORDER BY c.created_at, c.id LIMIT :limit

-- name: context_order_descending
ORDER BY c.created_at DESC, c.id DESC LIMIT :limit

-- name: context_rows
-- What is stored under some keys, a JSON array of arrays.
SELECT
    c.record_id, c.updated_at, c.stamp, c.id, CAST(c.data AS BLOB), c.agent_id, c.session_id, c.expires_at,
    c.deleted_at, c.normalised, c.created_at
FROM json_each(:keys) AS wanted
CROSS JOIN contexts AS c ON c.id = json_extract(wanted.value, '$[0]');

-- name: write_context
INSERT INTO contexts (
    record_id, updated_at, stamp, id, data, agent_id, session_id, expires_at, deleted_at, normalised, created_at
) VALUES (
    ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?
)
ON CONFLICT (id) DO UPDATE SET
    record_id = excluded.record_id, updated_at = excluded.updated_at, stamp = excluded.stamp, data = excluded.data,
    agent_id = excluded.agent_id, session_id = excluded.session_id, expires_at = excluded.expires_at,
    deleted_at = excluded.deleted_at, normalised = excluded.normalised, created_at = excluded.created_at;
