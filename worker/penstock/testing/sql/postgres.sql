-- What the checker asks a PostgreSQL store, past the library.

-- name: messages
SELECT
    replace(id::text, '-', '') AS id, session_id,
    (extract(EPOCH FROM created_at) * 1000000)::bigint AS created_at, content,
    coalesce(state, 'complete') AS state, deleted_at IS NOT NULL AS deleted
FROM messages
ORDER BY created_at, id;

-- name: counters
SELECT id, message_count FROM sessions;

-- name: logs
SELECT replace(id::text, '-', '') AS id, event, message FROM logs;

-- name: key_values
SELECT namespace, key, value::text AS value FROM key_values WHERE deleted_at IS NULL;
