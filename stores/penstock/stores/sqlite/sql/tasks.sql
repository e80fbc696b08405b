-- Tasks. Columns come in the order of the record's fields (`penstock.wire.records`).
-- For the ways of reading see `messages.sql`.

-- name: task_columns
SELECT
    t.record_id, t.updated_at, t.stamp, t.id, t.status, t.agent_id, t.task_type, t.priority, t.enabled, t.description,
    CAST(t.data AS BLOB), t.last_run_at, t.next_run_at, t.started_at, t.completed_at, t.duration_s,
    CAST(t.result AS BLOB), t.error, t.deleted_at, t.normalised, t.created_at, t.status_stamp
FROM tasks AS t

-- name: task_count
SELECT count(*) FROM tasks AS t

-- name: task_id
t.id = :id AND t.deleted_at IS NULL

-- name: task_is_agent_id
t.agent_id = :agent_id

-- name: task_is_status
t.status = :status

-- name: task_is_task_type
t.task_type = :task_type

-- name: task_is_enabled
t.enabled = :enabled

-- name: task_is_since_us
t.created_at >= :since_us

-- name: task_is_until_us
t.created_at < :until_us

-- name: task_filtered
t.data

-- name: task_kept
t.deleted_at IS NULL

-- name: task_after_ascending
(t.created_at, t.id) > (:at_us, :at_id)

-- name: task_after_descending
(t.created_at, t.id) < (:at_us, :at_id)

-- name: task_order_ascending
ORDER BY t.created_at, t.id LIMIT :limit

-- name: task_order_descending
ORDER BY t.created_at DESC, t.id DESC LIMIT :limit

-- name: tasks_of_agent_by_status
-- How many, how many with a duration, all durations in `scale`, and when the newest was created.
SELECT t.status, count(*), count(t.duration_s), sum(t.duration_s * :scale), max(t.created_at)
FROM tasks AS t
WHERE t.agent_id = :agent_id AND t.deleted_at IS NULL
GROUP BY t.status;

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
