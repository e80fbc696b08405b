-- Messages: what every SQL backend is asked by. Columns, writes and the rest lie in each backend's own file.
--
-- A query is a head, its conditions joined by AND, and a tail (`penstock.stores.questions`). `:name` stands for a value,
-- which is bound.

-- name: message_count
SELECT count(*) FROM messages AS m

-- name: message_id
m.id = :id

-- name: message_is_user_id
m.user_id = :user_id

-- name: message_is_platform
m.platform = :platform

-- name: message_is_channel_id
m.channel_id = :channel_id

-- name: message_is_thread_id
m.thread_id = :thread_id

-- name: message_is_bot_user_id
m.bot_user_id = :bot_user_id

-- name: message_is_engine_session_id
m.engine_session_id = :engine_session_id

-- name: message_is_provider_session_id
m.provider_session_id = :provider_session_id

-- name: message_is_provider_type
m.provider_type = :provider_type

-- name: message_is_since_us
m.created_at >= :since_us

-- name: message_is_until_us
m.created_at < :until_us

-- name: message_filtered
m.metadata

-- name: message_kept
m.deleted_at IS NULL

-- name: message_after_ascending
(m.created_at, m.id) > (:at_us, :at_id)

-- name: message_after_descending
(m.created_at, m.id) < (:at_us, :at_id)

-- name: message_order_ascending
ORDER BY m.created_at, m.id LIMIT :limit

-- name: message_order_descending
ORDER BY m.created_at DESC, m.id DESC LIMIT :limit
