-- Messages. Positions are the fields of the record, in wire order (`penstock.wire.records`).
-- `bulk.py` repeats the row of values of an INSERT, which is why its values have no numbers.
-- What every backend is asked by lies in `penstock/stores/sql`.

-- name: insert_message
-- The first write of an id wins; the row count tells whether all were new. CAST, since JSON of a BLOB is refused.
INSERT INTO messages (
    id, created_at, session_no, role, content, metadata, user_id, message_type, platform, from_user_id,
    from_user_name, to_user_id, channel_id, thread_id, bot_user_id, engine_session_id, engine_namespace,
    provider_session_id, provider_type, updated_at, deleted_at, state, version, normalised
) VALUES (
    ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?
)
ON CONFLICT (id) DO NOTHING;

-- name: insert_plain_message
-- Most messages have no more than this, and Python's driver spends 0.25 us on each NULL it is given to bind.
INSERT INTO messages (id, created_at, session_no, role, content, version, normalised)
VALUES (?, ?, ?, ?, ?, 0, 0)
ON CONFLICT (id) DO NOTHING;

-- name: insert_message_with_metadata
INSERT INTO messages (id, created_at, session_no, role, content, metadata, version, normalised)
VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT), 0, 0)
ON CONFLICT (id) DO NOTHING;

-- name: replace_message
-- Time and session stay: a message keeps its place, so that no page shows it twice.
UPDATE messages SET
    role = ?4, content = ?5, metadata = CAST(?6 AS TEXT), user_id = ?7, message_type = ?8, platform = ?9,
    from_user_id = ?10, from_user_name = ?11, to_user_id = ?12, channel_id = ?13, thread_id = ?14,
    bot_user_id = ?15, engine_session_id = ?16, engine_namespace = ?17, provider_session_id = ?18,
    provider_type = ?19, updated_at = ?20, deleted_at = ?21, state = ?22, version = ?23, normalised = ?24
WHERE id = ?1;

-- name: versions
-- What is stored of some messages; their ids come as one BLOB, 16 bytes each.
WITH RECURSIVE wanted (n, id) AS (
    SELECT 1, substr(:ids, 1, 16)
    UNION ALL
    SELECT n + 1, substr(:ids, 16 * n + 1, 16) FROM wanted WHERE 16 * n < length(:ids)
)
SELECT m.id, m.version, m.deleted_at, m.created_at
FROM wanted
CROSS JOIN messages AS m ON m.id = wanted.id;

-- name: message_columns
SELECT
    m.id, m.created_at, s.id, m.role, m.content, CAST(m.metadata AS BLOB), m.user_id, m.message_type, m.platform,
    m.from_user_id,
    m.from_user_name, m.to_user_id, m.channel_id, m.thread_id, m.bot_user_id, m.engine_session_id, m.engine_namespace,
    m.provider_session_id, m.provider_type, m.updated_at, m.deleted_at, m.state, m.version, m.normalised
FROM messages AS m
CROSS JOIN sessions AS s ON s.no = m.session_no

-- name: message_is_session_id
m.session_no = (SELECT no FROM sessions WHERE id = :session_id)

-- name: message_is_roles
m.role IN (SELECT value FROM json_each(:roles))

-- name: message_is_message_types
m.message_type IN (SELECT value FROM json_each(:message_types))

-- name: partials
-- Streams, with the texts of those that may still grow; ids as in `versions`.
WITH RECURSIVE wanted (n, id) AS (
    SELECT 1, substr(:ids, 1, 16)
    UNION ALL
    SELECT n + 1, substr(:ids, 16 * n + 1, 16) FROM wanted WHERE 16 * n < length(:ids)
)
SELECT m.id, CASE WHEN m.state IS NOT NULL THEN m.content END AS content, m.version
FROM wanted
CROSS JOIN messages AS m ON m.id = wanted.id
WHERE m.version > 0;
