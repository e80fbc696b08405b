-- Sessions: what is counted of their messages.

-- name: grow_session
-- Only from messages that were new. The greater id decides between messages of one microsecond. See `messages.sql`.
INSERT INTO sessions (
    id, user_id, platform, message_count, first_message_at, last_message_at, last_message_id
) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    user_id = coalesce(user_id, excluded.user_id),
    platform = coalesce(platform, excluded.platform),
    message_count = message_count + excluded.message_count,
    first_message_at = min(first_message_at, excluded.first_message_at),
    last_message_at = max(last_message_at, excluded.last_message_at),
    last_message_id = CASE
        WHEN (excluded.last_message_at, excluded.last_message_id) > (last_message_at, last_message_id)
            THEN excluded.last_message_id
        ELSE last_message_id
    END;

-- name: session_no
SELECT no FROM sessions WHERE id = ?1;

-- name: session_columns_and_last_message
-- The message's columns are NULL where there is none that is not deleted.
SELECT
    s.id, s.user_id, s.platform, s.message_count, s.first_message_at, s.last_message_at, s.last_message_id,
    m.id, m.created_at, s.id, m.role, m.content, CAST(m.metadata AS BLOB), m.user_id, m.message_type, m.platform,
    m.from_user_id, m.from_user_name, m.to_user_id, m.channel_id, m.thread_id, m.bot_user_id, m.engine_session_id,
    m.engine_namespace, m.provider_session_id, m.provider_type, m.updated_at, m.deleted_at, m.state, m.version,
    m.normalised
FROM sessions AS s
LEFT JOIN messages AS m ON m.rowid = (
    SELECT l.rowid FROM messages AS l
    WHERE l.session_no = s.no AND l.deleted_at IS NULL
    ORDER BY l.created_at DESC, l.id DESC LIMIT 1
)
