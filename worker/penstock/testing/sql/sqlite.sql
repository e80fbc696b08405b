-- What the checker asks a SQLite store, past the library.

-- name: messages
SELECT
    lower(hex(m.id)) AS id, coalesce(s.id, '(session ' || m.session_no || ' is missing)') AS session_id, m.created_at,
    m.content, coalesce(m.state, 'complete') AS state, m.deleted_at IS NOT NULL AS deleted
FROM messages AS m
LEFT JOIN sessions AS s ON s.no = m.session_no
ORDER BY m.created_at, m.id;

-- name: counters
SELECT id, message_count FROM sessions;

-- name: logs
SELECT lower(hex(id)) AS id, event, message FROM logs;

-- name: key_values
SELECT namespace, key, value FROM key_values WHERE deleted_at IS NULL;
