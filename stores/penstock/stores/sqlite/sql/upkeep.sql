-- What goes by itself (`penstock.stores.upkeep`). A slice is chosen by an index, the oldest first.

-- name: count_due_tombstones
SELECT
    (SELECT count(*) FROM tombstones WHERE deleted_at < :before_us)
    + (SELECT count(*) FROM tasks WHERE deleted_at < :before_us)
    + (SELECT count(*) FROM agent_states WHERE deleted_at < :before_us)
    + (SELECT count(*) FROM contexts WHERE deleted_at < :before_us)
    + (SELECT count(*) FROM key_values WHERE deleted_at < :before_us);

-- name: count_due_contexts
SELECT count(*) FROM contexts WHERE expires_at <= :before_us;

-- name: count_due_key_values
SELECT count(*) FROM key_values WHERE expires_at <= :before_us;

-- name: count_due_tasks
SELECT count(*) FROM tasks INDEXED BY tasks_finished
WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled') AND updated_at < :before_us;

-- name: count_due_logs
SELECT count(*) FROM logs WHERE created_at < :before_us;

-- name: count_due_messages
SELECT count(*) FROM messages WHERE created_at < :before_us;

-- name: remove_due_tombstones
DELETE FROM tombstones
WHERE (session_id, message_id) IN (
    SELECT session_id, message_id FROM tombstones WHERE deleted_at < :before_us ORDER BY deleted_at LIMIT :limit
);

-- name: remove_deleted_tasks
DELETE FROM tasks
WHERE rowid IN (SELECT rowid FROM tasks WHERE deleted_at < :before_us ORDER BY deleted_at LIMIT :limit);

-- name: remove_deleted_agent_states
DELETE FROM agent_states
WHERE rowid IN (SELECT rowid FROM agent_states WHERE deleted_at < :before_us ORDER BY deleted_at LIMIT :limit);

-- name: remove_deleted_contexts
DELETE FROM contexts
WHERE rowid IN (SELECT rowid FROM contexts WHERE deleted_at < :before_us ORDER BY deleted_at LIMIT :limit);

-- name: remove_deleted_key_values
DELETE FROM key_values
WHERE rowid IN (SELECT rowid FROM key_values WHERE deleted_at < :before_us ORDER BY deleted_at LIMIT :limit);

-- name: remove_due_contexts
UPDATE contexts SET
    data = NULL, agent_id = NULL, session_id = NULL, expires_at = NULL, deleted_at = coalesce(deleted_at, :now_us)
WHERE rowid IN (SELECT rowid FROM contexts WHERE expires_at <= :before_us ORDER BY expires_at LIMIT :limit);

-- name: remove_due_key_values
UPDATE key_values SET value = NULL, expires_at = NULL, deleted_at = coalesce(deleted_at, :now_us)
WHERE rowid IN (SELECT rowid FROM key_values WHERE expires_at <= :before_us ORDER BY expires_at LIMIT :limit);

-- name: remove_due_tasks
-- Left to itself, SQLite takes an index by status and sorts all that is finished.
DELETE FROM tasks
WHERE rowid IN (
    SELECT rowid FROM tasks INDEXED BY tasks_finished
    WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled') AND updated_at < :before_us
    ORDER BY updated_at LIMIT :limit
);

-- name: remove_due_logs
DELETE FROM logs
WHERE rowid IN (SELECT rowid FROM logs WHERE created_at < :before_us ORDER BY created_at LIMIT :limit);

-- name: due_messages
-- By id too: of a session's messages of one microsecond the last one goes last.
SELECT rowid, id, session_no, deleted_at IS NULL FROM messages
WHERE created_at < :before_us ORDER BY created_at, id LIMIT :limit;

-- name: remove_message
DELETE FROM messages WHERE rowid = ?1;

-- name: any_chunk
SELECT EXISTS (SELECT 1 FROM chunks);

-- name: age_session
-- The oldest are gone, so the last message is there still, unless none is.
UPDATE sessions SET
    message_count = message_count - :gone,
    first_message_at = (SELECT min(m.created_at) FROM messages AS m WHERE m.session_no = :no)
WHERE no = :no AND EXISTS (SELECT 1 FROM messages AS m WHERE m.session_no = :no);

-- name: empty_session
SELECT s.id FROM sessions AS s
WHERE s.no = :no AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.session_no = :no);

-- name: used_bytes
-- Of pages that hold something: those that are free are used again before the file grows.
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size;
