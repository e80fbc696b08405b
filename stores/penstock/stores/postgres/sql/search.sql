-- Words of messages (`penstock.stores.search`).

-- name: has_search
-- Not in the schemas before, which a newer worker may be about to change.
SELECT to_regclass('search_entries') IS NOT NULL;

-- name: note_search_and_any_tombstone
-- In one, since every batch of messages has to do both, and each round trip costs as much as inserting some of them.
WITH noted AS (
    INSERT INTO search_pending (since, until, until_id)
    SELECT since, until, 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    FROM unnest($1::timestamptz [], $2::timestamptz []) AS given (since, until)
)

SELECT EXISTS (SELECT FROM tombstones);

-- name: note_search
INSERT INTO search_pending (since, until, until_id)
SELECT since, until, 'ffffffff-ffff-ffff-ffff-ffffffffffff'
FROM unnest($1::timestamptz [], $2::timestamptz []) AS given (since, until);

-- name: share_search
-- Who removes messages: what is removed here is not written again by one who has read it before.
SELECT pg_advisory_xact_lock_shared(504627, 0), to_regclass('search_entries') IS NOT NULL;

-- name: hold_search
-- Who fills the index.
SELECT pg_advisory_xact_lock(504627, 0);

-- name: any_pending_search
SELECT EXISTS (SELECT FROM search_pending) OR EXISTS (SELECT FROM search_left_over);

-- name: reindex
INSERT INTO search_pending (since, until, until_id)
SELECT min(created_at), max(created_at), 'ffffffff-ffff-ffff-ffff-ffffffffffff' FROM messages HAVING count(*) > 0;

-- name: pending_search
SELECT id, since, until, until_id FROM search_pending ORDER BY until DESC, until_id DESC LIMIT 1000;

-- name: remove_pending_search
DELETE FROM search_pending WHERE id = ANY($1::uuid []);

-- name: keep_pending_search
INSERT INTO search_pending (since, until, until_id) VALUES ($1, $2, $3);

-- name: unindexed
-- The messages of a span, from its end, each with whether its entry is right and, where it is not, the text to find.
SELECT
    m.id, m.created_at, m.version,
    e.message_id IS NOT NULL AS is_there,
    coalesce(e.version = m.version AND e.created_at = m.created_at, FALSE) AS is_current,
    CASE WHEN m.deleted_at IS NULL AND (e.version, e.created_at) IS DISTINCT FROM (m.version, m.created_at)
        THEN m.content
    END AS content
FROM messages AS m
LEFT JOIN search_entries AS e ON e.message_id = m.id
WHERE m.created_at >= $1 AND (m.created_at, m.id) <= ($2, $3)
ORDER BY m.created_at DESC, m.id DESC LIMIT $4;

-- name: write_entries
INSERT INTO search_entries (message_id, version, created_at, words)
SELECT message_id, version, created_at, words
FROM unnest($1::uuid [], $2::bigint [], $3::timestamptz [], $4::text []) AS given (message_id, version, created_at, words)
ON CONFLICT (message_id) DO UPDATE SET
    version = excluded.version,
    created_at = excluded.created_at,
    words = excluded.words;

-- name: remove_entries
DELETE FROM search_entries WHERE message_id = ANY($1::uuid []);

-- name: remove_entries_of_sessions
DELETE FROM search_entries AS e
USING unnest($1::text [], $2::timestamptz []) AS given (session_id, deleted_at), messages AS m
WHERE m.session_id = given.session_id AND m.created_at <= given.deleted_at AND e.message_id = m.id;

-- name: look_for_left_over
-- From the first one on, whether or not somebody is at it.
WITH stopped AS (DELETE FROM search_left_over)

INSERT INTO search_left_over (behind) VALUES ('00000000-0000-0000-0000-000000000000');

-- name: left_over_behind
SELECT behind FROM search_left_over;

-- name: entries_behind
SELECT e.message_id, EXISTS (SELECT FROM messages AS m WHERE m.id = e.message_id) AS is_right
FROM search_entries AS e
WHERE e.message_id > $1
ORDER BY e.message_id LIMIT $2;

-- name: left_over_until
UPDATE search_left_over SET behind = $1;

-- name: no_left_over
DELETE FROM search_left_over;

-- name: found_columns
-- The entries by their index first, whatever a planner thinks: one that knows of the order and the limit walks the
-- messages by time until it has found enough, and with a rare word, which it takes for a more common one, it walks all
-- of them; and one that knows nothing of a new table may begin with the messages.
WITH matching AS MATERIALIZED (
    SELECT w.message_id, w.version, w.created_at
    FROM search_entries AS w
    WHERE
        search_tokens(w.words) @@ :tokens::text::tsquery
        AND (
            cardinality(:wanted::text []) = 0
            OR NOT EXISTS (SELECT FROM unnest(:wanted::text []) AS phrase WHERE strpos(w.words, phrase) = 0)
        )
        AND (
            cardinality(:unwanted::text []) = 0
            OR NOT EXISTS (SELECT FROM unnest(:unwanted::text []) AS phrase WHERE strpos(w.words, phrase) > 0)
        )
),

found AS (
SELECT e.message_id, e.created_at
FROM matching AS e
JOIN messages AS m ON m.id = e.message_id AND m.version = e.version AND m.created_at = e.created_at

-- name: found_is_session_id
m.session_id = :session_id

-- name: found_is_roles
m.role = ANY(:roles)

-- name: found_order_descending
)

SELECT
    m.id, m.created_at, m.session_id, m.role, m.content, m.metadata, m.user_id, m.message_type, m.platform, m.from_user_id,
    m.from_user_name, m.to_user_id, m.channel_id, m.thread_id, m.bot_user_id, m.engine_session_id, m.engine_namespace,
    m.provider_session_id, m.provider_type, m.updated_at, m.deleted_at, m.state, m.version, m.normalised
FROM (SELECT f.message_id, f.created_at FROM found AS f ORDER BY f.created_at DESC, f.message_id DESC LIMIT :limit) AS page
JOIN messages AS m ON m.id = page.message_id
ORDER BY page.created_at DESC, page.message_id DESC
