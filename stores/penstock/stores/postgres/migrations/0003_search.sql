-- The index of words, filled behind the writes: a write only notes what times it brought messages of.

-- Those who are writing messages have not noted any: wait for them, and have those who come next see this schema.
SELECT pg_advisory_xact_lock(504626, number) FROM generate_series(0, 63) AS number ORDER BY number;

-- Messages created in these spans may lack in the index, or be there as they were. A span is worked off from its end:
-- what lies behind (`until`, `until_id`) has been looked at.
CREATE TABLE search_pending (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    until_id uuid NOT NULL
);

-- What is found of a message, as it was in one version: its words in order, with blanks between and around. The index
-- has each of them once. Phrases are looked for in the text, as positions in a tsvector end at 16,383, and at 256 of one
-- word.
CREATE TABLE search_entries (
    message_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    words text COLLATE "C" NOT NULL
);

-- No more than the two calls in it, but said to cost what they do: a planner that thinks them cheap reads the whole table
-- for a word that is in half of it, in ten times the time that the index takes.
CREATE FUNCTION search_tokens(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
BEGIN
    RETURN array_to_tsvector(string_to_array(btrim(words), ' '));
END
$$;

CREATE INDEX search_entries_by_time ON search_entries (created_at, message_id);
CREATE INDEX search_entries_by_word ON search_entries USING gin (search_tokens(words));

-- Entries behind this one may be left over from messages that went with their partition.
CREATE TABLE search_left_over (
    behind uuid NOT NULL
);

INSERT INTO search_pending (since, until, until_id)
SELECT min(created_at), max(created_at), 'ffffffff-ffff-ffff-ffff-ffffffffffff' FROM messages HAVING count(*) > 0;
