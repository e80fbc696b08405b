-- Sessions: what is counted of their messages. For the way of writing see `messages.sql`.

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

-- name: session_columns_and_last_message
-- The message's columns are NULL where there is none that is not deleted.
SELECT
    s.id, s.user_id, s.platform, s.message_count, s.first_message_at, s.last_message_at, s.last_message_id,
    m.id, m.created_at, m.session_id, m.role, m.content, m.metadata, m.user_id, m.message_type, m.platform,
    m.from_user_id, m.from_user_name, m.to_user_id, m.channel_id, m.thread_id, m.bot_user_id, m.engine_session_id,
    m.engine_namespace, m.provider_session_id, m.provider_type, m.updated_at, m.deleted_at, m.state, m.version,
    m.normalised
FROM sessions AS s
LEFT JOIN LATERAL (
    SELECT * FROM messages AS l
    WHERE l.session_id = s.id AND l.deleted_at IS NULL
    ORDER BY l.created_at DESC, l.id DESC LIMIT 1
) AS m ON true
