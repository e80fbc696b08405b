-- Sessions: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

-- name: session_columns
SELECT s.id, s.user_id, s.platform, s.message_count, s.first_message_at, s.last_message_at, s.last_message_id
FROM sessions AS s

-- name: session_id
s.id = :id

-- name: session_is_user_id
s.user_id = :user_id

-- name: session_is_platform
s.platform = :platform

-- name: session_is_since_us
s.last_message_at >= :since_us

-- name: session_is_until_us
s.last_message_at < :until_us

-- name: session_after_descending
(s.last_message_at, s.id) < (:at_us, :at_id)

-- name: session_order_descending
ORDER BY s.last_message_at DESC, s.id DESC LIMIT :limit
