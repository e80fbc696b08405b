-- What was deleted before it came, and sessions that were deleted.

-- name: has_tombstones
-- Not in the first schema, which a newer worker may be about to change.
SELECT to_regclass('tombstones') IS NOT NULL;

-- name: any_tombstone
SELECT EXISTS (SELECT FROM tombstones);

-- name: lock_sessions
-- One after another, in the order given, until the commit. The first number is arbitrary, and the same in every release.
SELECT CASE
    WHEN given.alone THEN pg_advisory_xact_lock(504626, given.number)
    ELSE pg_advisory_xact_lock_shared(504626, given.number)
END
FROM unnest($1::integer [], $2::boolean []) AS given (number, alone);

-- name: tombstones_of_sessions
SELECT session_id, message_id, deleted_at FROM tombstones WHERE session_id = ANY($1::text []);

-- name: write_tombstones
INSERT INTO tombstones (session_id, message_id, record_id, deleted_at)
SELECT * FROM unnest($1::text [], $2::bytea [], $3::uuid [], $4::timestamptz [])
ON CONFLICT (session_id, message_id) DO UPDATE SET record_id = excluded.record_id, deleted_at = excluded.deleted_at;

-- name: remove_tombstones
-- Locked in order first: two who bring the same message both remove its tombstone.
DELETE FROM tombstones AS t
USING (
    SELECT s.session_id, s.message_id
    FROM unnest($1::text [], $2::bytea []) AS given (session_id, message_id)
    JOIN tombstones AS s ON s.session_id = given.session_id AND s.message_id = given.message_id
    ORDER BY s.session_id, s.message_id
    FOR UPDATE OF s
) AS used
WHERE t.session_id = used.session_id AND t.message_id = used.message_id;

-- name: delete_older_tombstones
-- Of single messages: what they would mark is gone with the session.
DELETE FROM tombstones AS t
USING unnest($1::text [], $2::timestamptz []) AS given (session_id, deleted_at)
WHERE t.session_id = given.session_id AND t.message_id <> ''::bytea AND t.deleted_at <= given.deleted_at;

-- name: delete_messages_of_sessions
-- An array, so that the chunks of a few streams are found by their key, however many there are of others.
WITH gone AS (
    DELETE FROM messages AS m
    USING unnest($1::text [], $2::timestamptz []) AS given (session_id, deleted_at)
    WHERE m.session_id = given.session_id AND m.created_at <= given.deleted_at
    RETURNING m.id
)

DELETE FROM chunks WHERE stream_id = ANY(ARRAY(SELECT id FROM gone));

-- name: delete_chunks_of_streams
DELETE FROM chunks WHERE stream_id = ANY($1::uuid []);

-- name: recount_sessions
-- From the messages that are left; a session without any goes next.
UPDATE sessions AS s SET
    user_id = (
        SELECT m.user_id FROM messages AS m
        WHERE m.session_id = s.id AND m.user_id IS NOT NULL ORDER BY m.created_at, m.id LIMIT 1
    ),
    platform = (
        SELECT m.platform FROM messages AS m
        WHERE m.session_id = s.id AND m.platform IS NOT NULL ORDER BY m.created_at, m.id LIMIT 1
    ),
    message_count = (SELECT count(*) FROM messages AS m WHERE m.session_id = s.id AND m.deleted_at IS NULL),
    first_message_at = (SELECT min(m.created_at) FROM messages AS m WHERE m.session_id = s.id),
    last_message_at = (SELECT max(m.created_at) FROM messages AS m WHERE m.session_id = s.id),
    last_message_id = (
        SELECT m.id FROM messages AS m WHERE m.session_id = s.id ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    )
WHERE s.id = ANY($1::text []) AND EXISTS (SELECT 1 FROM messages AS m WHERE m.session_id = s.id);

-- name: delete_empty_sessions
DELETE FROM sessions AS s
WHERE s.id = ANY($1::text []) AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.session_id = s.id);

-- name: lock_marks
-- Of messages of those sessions: one that has the id in another session is not meant.
SELECT m.session_id, m.id, m.deleted_at
FROM unnest($1::text [], $2::uuid []) AS wanted (session_id, id)
JOIN messages AS m ON m.id = wanted.id AND m.session_id = wanted.session_id
ORDER BY m.id
FOR UPDATE OF m;

-- name: mark_messages
UPDATE messages AS m SET deleted_at = given.deleted_at
FROM unnest($1::uuid [], $2::timestamptz []) AS given (id, deleted_at)
WHERE m.id = given.id;

-- name: shrink_sessions
UPDATE sessions AS s SET message_count = s.message_count - given.fewer
FROM unnest($1::text [], $2::bigint []) AS given (id, fewer)
WHERE s.id = given.id;
