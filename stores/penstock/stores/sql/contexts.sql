-- Contexts of agents: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

-- name: context_count
SELECT count(*) FROM contexts AS c

-- name: context_id
c.id = :id AND c.deleted_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > :now_us)

-- name: context_is_agent_id
c.agent_id = :agent_id

-- name: context_is_session_id
c.session_id = :session_id

-- name: context_is_since_us
c.created_at >= :since_us

-- name: context_is_until_us
c.created_at < :until_us

-- name: context_is_now_us
(c.expires_at IS NULL OR c.expires_at > :now_us)

-- name: context_filtered
c.data

-- name: context_kept
c.deleted_at IS NULL

-- name: context_after_ascending
(c.created_at, c.id) > (:at_us, :at_id)

-- name: context_after_descending
(c.created_at, c.id) < (:at_us, :at_id)

-- name: context_order_ascending
ORDER BY c.created_at, c.id LIMIT :limit

-- name: context_order_descending
ORDER BY c.created_at DESC, c.id DESC LIMIT :limit
