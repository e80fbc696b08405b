-- Tasks. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: task_columns
SELECT
    t.record_id, t.updated_at, t.stamp, t.id, t.status, t.agent_id, t.task_type, t.priority, t.enabled, t.description,
    CAST(t.data AS BLOB), t.last_run_at, t.next_run_at, t.started_at, t.completed_at, t.duration_s,
    CAST(t.result AS BLOB), t.error, t.deleted_at, t.normalised, t.created_at, t.status_stamp
FROM tasks AS t

-- name: task_rows
-- What is stored under some keys, a JSON array of arrays.
SELECT
    t.record_id, t.updated_at, t.stamp, t.id, t.status, t.agent_id, t.task_type, t.priority, t.enabled, t.description,
    CAST(t.data AS BLOB), t.last_run_at, t.next_run_at, t.started_at, t.completed_at, t.duration_s,
    CAST(t.result AS BLOB), t.error, t.deleted_at, t.normalised, t.created_at, t.status_stamp
FROM json_each(:keys) AS wanted
CROSS JOIN tasks AS t ON t.id = json_extract(wanted.value, '$[0]');

-- name: write_task
INSERT INTO tasks (
    record_id, updated_at, stamp, id, status, agent_id, task_type, priority, enabled, description, data, last_run_at,
    next_run_at, started_at, completed_at, duration_s, result, error, deleted_at, normalised, created_at, status_stamp
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?
)
ON CONFLICT (id) DO UPDATE SET
    record_id = excluded.record_id, updated_at = excluded.updated_at, stamp = excluded.stamp,
    status = excluded.status, agent_id = excluded.agent_id, task_type = excluded.task_type,
    priority = excluded.priority, enabled = excluded.enabled, description = excluded.description,
    data = excluded.data, last_run_at = excluded.last_run_at, next_run_at = excluded.next_run_at,
    started_at = excluded.started_at, completed_at = excluded.completed_at, duration_s = excluded.duration_s,
    result = excluded.result, error = excluded.error, deleted_at = excluded.deleted_at,
    normalised = excluded.normalised, created_at = excluded.created_at, status_stamp = excluded.status_stamp;
