-- Tasks: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

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
