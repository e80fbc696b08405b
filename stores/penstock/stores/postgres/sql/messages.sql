-- Messages. A batch is one statement: an array for each field of the record, in wire order (`penstock.wire.records`).
-- An array that is NULL stands for a column of NULLs. Rows come sorted by key, so that two writers wait for each other
-- and never in a circle.
-- What every backend is asked by lies in `penstock/stores/sql`.

-- name: insert_messages
-- The first write of an id wins. Answers with the ids that were new, 16 bytes each: the counters are theirs.
WITH new AS (
    INSERT INTO messages (
        id, created_at, session_id, role, content, metadata, user_id, message_type, platform, from_user_id,
        from_user_name, to_user_id, channel_id, thread_id, bot_user_id, engine_session_id, engine_namespace,
        provider_session_id, provider_type, updated_at, deleted_at, state, version, normalised
    )
    SELECT *
    FROM unnest(
        $1::uuid [], $2::timestamptz [], $3::text [], $4::text [], $5::text [], $6::json [], $7::text [], $8::text [],
        $9::text [], $10::text [], $11::text [], $12::text [], $13::text [], $14::text [], $15::text [],
        $16::text [], $17::text [], $18::text [], $19::text [], $20::timestamptz [], $21::timestamptz [],
        $22::text [], $23::bigint [], $24::boolean []
    )
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)

SELECT string_agg(uuid_send(id), ''::bytea) FROM new;

-- name: lock_stored
-- What is stored of some messages, locked until the commit: nobody replaces them in between.
SELECT id, version, deleted_at, session_id, created_at FROM messages WHERE id = ANY($1::uuid []) ORDER BY id FOR UPDATE;

-- name: replace_messages
-- Time and session stay: a message keeps its place, so that no page shows it twice.
UPDATE messages AS m SET
    role = given.role,
    content = given.content,
    metadata = given.metadata,
    user_id = given.user_id,
    message_type = given.message_type,
    platform = given.platform,
    from_user_id = given.from_user_id,
    from_user_name = given.from_user_name,
    to_user_id = given.to_user_id,
    channel_id = given.channel_id,
    thread_id = given.thread_id,
    bot_user_id = given.bot_user_id,
    engine_session_id = given.engine_session_id,
    engine_namespace = given.engine_namespace,
    provider_session_id = given.provider_session_id,
    provider_type = given.provider_type,
    updated_at = given.updated_at,
    deleted_at = given.deleted_at,
    state = given.state,
    version = given.version,
    normalised = given.normalised
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::text [], $4::text [], $5::text [], $6::json [], $7::text [], $8::text [],
    $9::text [], $10::text [], $11::text [], $12::text [], $13::text [], $14::text [], $15::text [],
    $16::text [], $17::text [], $18::text [], $19::text [], $20::timestamptz [], $21::timestamptz [],
    $22::text [], $23::bigint [], $24::boolean []
) AS given (
    id, created_at, session_id, role, content, metadata, user_id, message_type, platform, from_user_id,
    from_user_name, to_user_id, channel_id, thread_id, bot_user_id, engine_session_id, engine_namespace,
    provider_session_id, provider_type, updated_at, deleted_at, state, version, normalised
)
WHERE m.id = given.id;

-- name: message_columns
SELECT
    m.id, m.created_at, m.session_id, m.role, m.content, m.metadata, m.user_id, m.message_type, m.platform, m.from_user_id,
    m.from_user_name, m.to_user_id, m.channel_id, m.thread_id, m.bot_user_id, m.engine_session_id, m.engine_namespace,
    m.provider_session_id, m.provider_type, m.updated_at, m.deleted_at, m.state, m.version, m.normalised
FROM messages AS m

-- name: message_is_session_id
m.session_id = :session_id

-- name: message_is_roles
m.role = ANY(:roles)

-- name: message_is_message_types
m.message_type = ANY(:message_types)

-- name: partials
-- Streams, with the texts of those that may still grow.
SELECT m.id, CASE WHEN m.state IS NOT NULL THEN m.content END AS content, m.version
FROM messages AS m
WHERE m.id = ANY(:ids) AND m.version > 0;
