-- Search: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

-- name: found_is_since_us
e.created_at >= :since_us

-- name: found_is_until_us
e.created_at < :until_us

-- name: found_after_descending
(e.created_at, e.message_id) < (:at_us, :at_id)

-- name: found_is_user_id
m.user_id = :user_id

-- name: found_kept
m.deleted_at IS NULL
