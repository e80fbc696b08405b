-- What was deleted before it came, and sessions that were deleted.

-- name: any_tombstone
SELECT EXISTS (SELECT 1 FROM tombstones);

-- name: tombstones_of_sessions
SELECT t.session_id, t.message_id, t.deleted_at
FROM json_each(:sessions) AS wanted
CROSS JOIN tombstones AS t ON t.session_id = wanted.value;

-- name: write_session_tombstone
-- A later deletion of a session counts from then on; a repeated one changes nothing.
INSERT INTO tombstones (session_id, message_id, record_id, deleted_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (session_id, message_id) DO UPDATE SET record_id = excluded.record_id, deleted_at = excluded.deleted_at
WHERE excluded.deleted_at > tombstones.deleted_at;

-- name: write_message_tombstone
-- The first deletion of a message counts, as it does for a message that is there. None is needed where the session was
-- deleted later: the message will not come.
INSERT INTO tombstones (session_id, message_id, record_id, deleted_at)
SELECT ?1, ?2, ?3, ?4
WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE session_id = ?1 AND message_id = x'' AND deleted_at >= ?4)
ON CONFLICT (session_id, message_id) DO NOTHING;

-- name: remove_tombstone
DELETE FROM tombstones WHERE session_id = ?1 AND message_id = ?2;

-- name: delete_older_tombstones
-- Of single messages: what they would mark is gone with the session.
DELETE FROM tombstones WHERE session_id = ?1 AND message_id <> x'' AND deleted_at <= ?2;

-- name: delete_chunks_of_session
DELETE FROM chunks
WHERE stream_id IN (SELECT id FROM messages WHERE session_no = :no AND created_at <= :deleted_at);

-- name: delete_chunks_of_stream
DELETE FROM chunks WHERE stream_id = ?1;

-- name: delete_messages_of_session
DELETE FROM messages WHERE session_no = :no AND created_at <= :deleted_at;

-- name: recount_session
-- From the messages that are left. No row is changed where none is: then the session goes too.
UPDATE sessions SET
    user_id = (
        SELECT m.user_id FROM messages AS m
        WHERE m.session_no = :no AND m.user_id IS NOT NULL ORDER BY m.created_at, m.id LIMIT 1
    ),
    platform = (
        SELECT m.platform FROM messages AS m
        WHERE m.session_no = :no AND m.platform IS NOT NULL ORDER BY m.created_at, m.id LIMIT 1
    ),
    message_count = (SELECT count(*) FROM messages AS m WHERE m.session_no = :no AND m.deleted_at IS NULL),
    first_message_at = (SELECT min(m.created_at) FROM messages AS m WHERE m.session_no = :no),
    last_message_at = (SELECT max(m.created_at) FROM messages AS m WHERE m.session_no = :no),
    last_message_id = (
        SELECT m.id FROM messages AS m WHERE m.session_no = :no ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    )
WHERE no = :no AND EXISTS (SELECT 1 FROM messages AS m WHERE m.session_no = :no);

-- name: delete_session
DELETE FROM sessions WHERE no = :no;

-- name: deletion_of_message
-- Of a message of that session: one that has the id in another session is not meant.
SELECT deleted_at FROM messages WHERE id = ?1 AND session_no = (SELECT no FROM sessions WHERE id = ?2);

-- name: mark_deleted
UPDATE messages SET deleted_at = ?2 WHERE id = ?1;

-- name: shrink_session
UPDATE sessions SET message_count = message_count - 1 WHERE no = (SELECT session_no FROM messages WHERE id = ?1);
