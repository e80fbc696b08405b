-- Words of messages (`penstock.stores.search`).

-- name: extend_pending_search
-- The span that was noted last, where this one touches it: who never has the index filled notes one span and not one
-- for each write.
UPDATE search_pending SET
    since = min(since, :since),
    until = max(until, :until),
    until_id = CASE WHEN :until >= until THEN x'ffffffffffffffffffffffffffffffff' ELSE until_id END
WHERE
    no = (SELECT max(no) FROM search_pending)
    AND since <= :until + 60000000 AND until >= :since - 60000000;

-- name: add_pending_search
INSERT INTO search_pending (since, until, until_id) VALUES (:since, :until, x'ffffffffffffffffffffffffffffffff');

-- name: any_pending_search
SELECT
    EXISTS (SELECT 1 FROM search_pending)
    OR EXISTS (SELECT 1 FROM search_entries WHERE message_id IS NULL);

-- name: reindex
INSERT INTO search_pending (since, until, until_id)
SELECT min(created_at), max(created_at), x'ffffffffffffffffffffffffffffffff' FROM messages HAVING count(*) > 0;

-- name: left_over_entries
SELECT no FROM search_entries WHERE message_id IS NULL LIMIT ?1;

-- name: pending_search
SELECT no, since, until, until_id FROM search_pending ORDER BY until DESC, until_id DESC LIMIT 1000;

-- name: remove_pending_search
DELETE FROM search_pending WHERE no = ?1;

-- name: keep_pending_search
INSERT INTO search_pending (since, until, until_id) VALUES (?1, ?2, ?3);

-- name: unindexed
-- The messages of a span, from its end, each with its entry and, where that is out of date, with the text to find.
SELECT
    m.id, m.created_at, m.version, e.no,
    e.no IS NOT NULL AND e.version = m.version AND e.created_at = m.created_at AS is_current,
    CASE WHEN m.deleted_at IS NULL AND (e.no IS NULL OR e.version <> m.version OR e.created_at <> m.created_at)
        THEN m.content
    END
FROM messages AS m
LEFT JOIN search_entries AS e ON e.message_id = m.id
WHERE m.created_at >= :since AND (m.created_at, m.id) <= (:until, :until_id)
ORDER BY m.created_at DESC, m.id DESC LIMIT :limit;

-- name: last_entry
SELECT coalesce(max(no), 0) FROM search_entries;

-- name: add_entry
INSERT INTO search_entries (no, message_id, version, created_at) VALUES (?1, ?2, ?3, ?4);

-- name: add_words
INSERT INTO search_words (rowid, words) VALUES (?1, ?2);

-- name: remove_entry
DELETE FROM search_entries WHERE no = ?1;

-- name: remove_words
DELETE FROM search_words WHERE rowid = ?1;

-- name: found_columns
SELECT
    m.id, m.created_at, s.id, m.role, m.content, CAST(m.metadata AS BLOB), m.user_id, m.message_type, m.platform,
    m.from_user_id,
    m.from_user_name, m.to_user_id, m.channel_id, m.thread_id, m.bot_user_id, m.engine_session_id, m.engine_namespace,
    m.provider_session_id, m.provider_type, m.updated_at, m.deleted_at, m.state, m.version, m.normalised
FROM search_words AS w
CROSS JOIN search_entries AS e ON e.no = w.rowid
CROSS JOIN messages AS m ON m.id = e.message_id AND m.version = e.version AND m.created_at = e.created_at
CROSS JOIN sessions AS s ON s.no = m.session_no

-- name: found_is_match
w.search_words MATCH :match

-- name: found_is_session_id
m.session_no = (SELECT no FROM sessions WHERE id = :session_id)

-- name: found_is_roles
m.role IN (SELECT value FROM json_each(:roles))

-- name: found_order_descending
ORDER BY e.created_at DESC, e.message_id DESC LIMIT :limit
