-- Log events. For the way of writing see `messages.sql`.

-- name: insert_log
INSERT INTO logs (id, created_at, level, event, message, agent_id, task_id, data, normalised)
VALUES (?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?)
ON CONFLICT (id) DO NOTHING;

-- name: log_columns
SELECT l.id, l.created_at, l.level, l.event, l.message, l.agent_id, l.task_id, CAST(l.data AS BLOB), l.normalised
FROM logs AS l
