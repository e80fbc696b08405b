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

-- name: goes_by_partitions
-- Only an owner may take a partition away; for everybody else rows go one by one, as at level 1.
SELECT relkind = 'p' AND pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1);

-- name: count_due_logs_default
SELECT count(*) FROM logs_default WHERE created_at < $1;

-- name: count_due_messages_default
SELECT count(*) FROM messages_default WHERE created_at < $1;

-- name: remove_due_logs_default
DELETE FROM logs_default
WHERE id = ANY(ARRAY(
    SELECT id FROM logs_default WHERE created_at < $1 ORDER BY created_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: due_messages_default
SELECT id, session_id FROM messages_default WHERE created_at < $1 ORDER BY created_at, id LIMIT $2;

-- name: count_older
-- The statement that counts what is older in a partition.
SELECT format('SELECT count(*) FROM %I WHERE created_at < $1', $1::text);

-- name: move_younger
-- Rows of the detached partition $2 that are younger than their ids say go to the default partition $1.
SELECT format(
    'WITH young AS (DELETE FROM %2$I WHERE created_at >= $1 RETURNING *) INSERT INTO %1$I SELECT * FROM young',
    $1::text, $2::text
);

-- name: set_aside
-- Under a name that tells upkeep that its rows are gone, but their sessions have not been counted yet.
SELECT format('ALTER TABLE %I RENAME TO %I', $1::text, 'set_aside_' || $1::text);

-- name: partitions_set_aside
SELECT relname FROM pg_class
WHERE relname LIKE 'set\_aside\_messages\_%' AND relkind = 'r' AND pg_table_is_visible(oid) ORDER BY relname;

-- name: remove_set_aside
-- By session, so that a slice is about few of them.
SELECT format(
    'DELETE FROM %1$I WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM %1$I ORDER BY session_id LIMIT $1 FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, session_id',
    $1::text
);

-- name: sessions_settled
-- Those of some sessions that have no row there any more.
SELECT format(
    'SELECT coalesce(array_agg(given.id ORDER BY given.id), ''{}'') FROM unnest($1::text []) AS given (id)
    WHERE NOT EXISTS (SELECT FROM %I AS m WHERE m.session_id = given.id)',
    $1::text
);

-- name: recount_aged_sessions
-- While nobody writes to them. What is known of a session stays, though the message that told it is gone.
UPDATE sessions AS s SET
    message_count = (SELECT count(*) FROM messages AS m WHERE m.session_id = s.id AND m.deleted_at IS NULL),
    first_message_at = (SELECT min(m.created_at) FROM messages AS m WHERE m.session_id = s.id),
    last_message_at = last.created_at,
    last_message_id = last.id
FROM unnest($1::text []) AS given (id)
CROSS JOIN LATERAL (
    SELECT m.created_at, m.id FROM messages AS m
    WHERE m.session_id = given.id ORDER BY m.created_at DESC, m.id DESC LIMIT 1
) AS last
WHERE s.id = given.id;

-- name: has_rows_left
SELECT format('SELECT EXISTS (SELECT 1 FROM %I)', $1::text);

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
