-- Values under keys: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.

-- name: key_value_id
k.namespace = :namespace AND k.key = :key AND k.deleted_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > :now_us)

-- name: key_value_is_namespace
k.namespace = :namespace

-- name: key_value_is_now_us
(k.expires_at IS NULL OR k.expires_at > :now_us)

-- name: key_value_is_prefix
k.key >= :prefix

-- name: key_value_is_prefix_end
k.key < :prefix_end

-- name: key_value_kept
k.deleted_at IS NULL

-- name: key_value_after_ascending
k.key > :at_id

-- name: key_value_order_ascending
ORDER BY k.key LIMIT :limit
