-- Walks through whole tables: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

-- name: deletion_columns
SELECT d.record_id, d.deleted_at, d.session_id, d.message_id
FROM tombstones AS d

-- name: deletion_walk_after
(d.session_id, d.message_id) > (:session_id, :message_id)

-- name: deletion_walk_order
ORDER BY d.session_id, d.message_id LIMIT :limit

-- name: message_walk_after
(m.created_at, m.id) > (:created_at_us, :id)

-- name: message_walk_order
ORDER BY m.created_at, m.id LIMIT :limit

-- name: chunk_walk_after
(k.stream_id, k.seq) > (:stream_id, :seq)

-- name: chunk_walk_order
ORDER BY k.stream_id, k.seq LIMIT :limit

-- name: log_walk_after
(l.created_at, l.id) > (:created_at_us, :id)

-- name: log_walk_order
ORDER BY l.created_at, l.id LIMIT :limit

-- name: task_walk_after
t.id > :task_id

-- name: task_walk_order
ORDER BY t.id LIMIT :limit

-- name: agent_state_walk_after
a.agent_id > :agent_id

-- name: agent_state_walk_order
ORDER BY a.agent_id LIMIT :limit

-- name: context_walk_after
c.id > :context_id

-- name: context_walk_order
ORDER BY c.id LIMIT :limit

-- name: key_value_walk_after
(k.namespace, k.key) > (:namespace, :key)

-- name: key_value_walk_order
ORDER BY k.namespace, k.key LIMIT :limit
