-- Log events. For the way of writing see `messages.sql`.

-- name: insert_logs
INSERT INTO logs (id, created_at, level, event, message, agent_id, task_id, data, normalised)
SELECT *
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::bigint [], $4::text [], $5::text [], $6::text [], $7::text [], $8::json [],
    $9::boolean []
)
ON CONFLICT (id) DO NOTHING;

-- name: log_columns
SELECT l.id, l.created_at, l.level, l.event, l.message, l.agent_id, l.task_id, l.data, l.normalised
FROM logs AS l
