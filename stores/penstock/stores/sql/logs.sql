-- Log events: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

-- name: log_count
SELECT count(*) FROM logs AS l

-- name: log_is_agent_id
l.agent_id = :agent_id

-- name: log_is_task_id
l.task_id = :task_id

-- name: log_is_event
l.event = :event

-- name: log_is_level
l.level = :level

-- name: log_is_min_level
l.level >= :min_level

-- name: log_is_trouble
-- What follows from the levels that are asked for, in the words of the index `logs_of_trouble`.
l.level >= 30

-- name: log_is_since_us
l.created_at >= :since_us

-- name: log_is_until_us
l.created_at < :until_us

-- name: log_filtered
l.data

-- name: log_after_ascending
(l.created_at, l.id) > (:at_us, :at_id)

-- name: log_after_descending
(l.created_at, l.id) < (:at_us, :at_id)

-- name: log_order_ascending
ORDER BY l.created_at, l.id LIMIT :limit

-- name: log_order_descending
ORDER BY l.created_at DESC, l.id DESC LIMIT :limit

-- name: logs_of_agent_by_level
SELECT l.level, count(*) FROM logs AS l WHERE l.agent_id = :agent_id GROUP BY l.level;
