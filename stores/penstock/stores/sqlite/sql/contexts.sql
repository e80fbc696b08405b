-- Contexts of agents. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: context_columns
SELECT
    c.record_id, c.updated_at, c.stamp, c.id, CAST(c.data AS BLOB), c.agent_id, c.session_id, c.expires_at,
    c.deleted_at, c.normalised, c.created_at
FROM contexts AS c

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
