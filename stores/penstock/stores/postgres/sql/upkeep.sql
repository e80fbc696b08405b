-- What goes by itself (`penstock.stores.upkeep`). A slice is chosen by an index, the oldest first, and passes over what
-- another transaction holds. Rows are found again by where they lie, or in partitioned tables by id.

-- name: count_due_tombstones
SELECT
    (SELECT count(*) FROM tombstones WHERE deleted_at < $1)
    + (SELECT count(*) FROM tasks WHERE deleted_at < $1)
    + (SELECT count(*) FROM agent_states WHERE deleted_at < $1)
    + (SELECT count(*) FROM contexts WHERE deleted_at < $1)
    + (SELECT count(*) FROM key_values WHERE deleted_at < $1);

-- name: count_due_contexts
SELECT count(*) FROM contexts WHERE expires_at <= $1;

-- name: count_due_key_values
SELECT count(*) FROM key_values WHERE expires_at <= $1;

-- name: count_due_tasks
SELECT count(*) FROM tasks
WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled') AND updated_at < $1;

-- name: count_due_logs
SELECT count(*) FROM logs WHERE created_at < $1;

-- name: count_due_messages
SELECT count(*) FROM messages WHERE created_at < $1;

-- name: remove_due_tombstones
DELETE FROM tombstones
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM tombstones WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_deleted_tasks
DELETE FROM tasks
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM tasks WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_deleted_agent_states
DELETE FROM agent_states
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM agent_states WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_deleted_contexts
DELETE FROM contexts
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM contexts WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_deleted_key_values
DELETE FROM key_values
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM key_values WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_due_contexts
UPDATE contexts SET
    data = NULL, agent_id = NULL, session_id = NULL, expires_at = NULL, deleted_at = coalesce(deleted_at, $3)
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM contexts WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_due_key_values
UPDATE key_values SET value = NULL, expires_at = NULL, deleted_at = coalesce(deleted_at, $3)
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM key_values WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_due_tasks
DELETE FROM tasks
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM tasks
    WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled') AND updated_at < $1
    ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: remove_due_logs
DELETE FROM logs
WHERE id = ANY(ARRAY(
    SELECT id FROM logs WHERE created_at < $1 ORDER BY created_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: due_messages
SELECT id, session_id FROM messages WHERE created_at < $1 ORDER BY created_at, id LIMIT $2;

-- name: remove_due_messages
DELETE FROM messages
WHERE id = ANY(ARRAY(
    SELECT id FROM messages WHERE id = ANY($1::uuid []) AND created_at < $2 ORDER BY id FOR UPDATE SKIP LOCKED
))
RETURNING id, session_id, deleted_at IS NULL;

-- name: lock_session_rows
-- What is counted next must be seen as those left it who have counted meanwhile.
SELECT id FROM sessions WHERE id = ANY($1::text []) ORDER BY id FOR UPDATE;

-- name: age_sessions
-- By how many are gone, and not by how many there are: one who is writing has not counted its messages yet.
UPDATE sessions AS s SET
    message_count = s.message_count - given.gone,
    first_message_at = (SELECT min(m.created_at) FROM messages AS m WHERE m.session_id = s.id),
    last_message_at = last.created_at,
    last_message_id = last.id
FROM unnest($1::text [], $2::bigint []) AS given (id, gone)
CROSS JOIN LATERAL (
    SELECT m.created_at, m.id FROM messages AS m
    WHERE m.session_id = given.id ORDER BY m.created_at DESC, m.id DESC LIMIT 1
) AS last
WHERE s.id = given.id;
