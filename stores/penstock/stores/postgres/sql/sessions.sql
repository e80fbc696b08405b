-- Sessions: what is counted of their messages. For the ways of writing and reading see `messages.sql`.

-- name: grow_sessions
-- Only from messages that were new. The greater id decides between messages of one microsecond.
INSERT INTO sessions AS s (
    id, user_id, platform, message_count, first_message_at, last_message_at, last_message_id
)
SELECT *
FROM unnest(
    $1::text [], $2::text [], $3::text [], $4::bigint [], $5::timestamptz [], $6::timestamptz [], $7::uuid []
)
ON CONFLICT (id) DO UPDATE SET
    user_id = coalesce(s.user_id, excluded.user_id),
    platform = coalesce(s.platform, excluded.platform),
    message_count = s.message_count + excluded.message_count,
    first_message_at = least(s.first_message_at, excluded.first_message_at),
    last_message_at = greatest(s.last_message_at, excluded.last_message_at),
    last_message_id = CASE
        WHEN (excluded.last_message_at, excluded.last_message_id) > (s.last_message_at, s.last_message_id)
            THEN excluded.last_message_id
        ELSE s.last_message_id
    END;

-- name: session_columns
SELECT s.id, s.user_id, s.platform, s.message_count, s.first_message_at, s.last_message_at, s.last_message_id
FROM sessions AS s

-- name: session_id
s.id = :id

-- name: session_is_user_id
s.user_id = :user_id

-- name: session_is_platform
s.platform = :platform

-- name: session_after_descending
(s.last_message_at, s.id) < (:at_us, :at_id)

-- name: session_order_descending
ORDER BY s.last_message_at DESC, s.id DESC LIMIT :limit
