CREATE TABLE schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Times are timestamptz: exact to the microsecond, as the producer's clock gave them. Ids are UUIDs of the producer's.
--
-- Metadata is json, not jsonb: jsonb sorts the keys, reads 1e2 as 100 and -0.0 as 0, and refuses what it cannot
-- index; what a caller gets back must be what was sent. An index may still cast: ((metadata::jsonb) ->> 'type').
--
-- Text that is compared is COLLATE "C": the order of code points, as in the other stores, on every machine. An
-- upgrade of the system's locales then damages no index.

CREATE TABLE sessions (
    id text COLLATE "C" PRIMARY KEY,
    user_id text COLLATE "C",
    platform text COLLATE "C",
    message_count bigint NOT NULL,
    first_message_at timestamptz NOT NULL,
    last_message_at timestamptz NOT NULL,
    last_message_id uuid NOT NULL
);

CREATE INDEX sessions_recent ON sessions (last_message_at, id);
CREATE INDEX sessions_of_user ON sessions (user_id, last_message_at, id) WHERE user_id IS NOT NULL;

CREATE TABLE messages (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    content text,
    metadata json,
    user_id text COLLATE "C",
    message_type text COLLATE "C",
    platform text COLLATE "C",
    from_user_id text COLLATE "C",
    from_user_name text COLLATE "C",
    to_user_id text COLLATE "C",
    channel_id text COLLATE "C",
    thread_id text COLLATE "C",
    bot_user_id text COLLATE "C",
    engine_session_id text COLLATE "C",
    engine_namespace text COLLATE "C",
    provider_session_id text COLLATE "C",
    provider_type text COLLATE "C",
    updated_at timestamptz,
    deleted_at timestamptz,
    state text COLLATE "C" CHECK (state IN ('streaming', 'interrupted')),
    version bigint NOT NULL,
    normalised boolean NOT NULL
);

-- With deleted_at, so that counting needs no look at the rows.
CREATE INDEX messages_of_session ON messages (session_id, created_at, id) INCLUDE (deleted_at);
CREATE INDEX messages_by_time ON messages (created_at, id) INCLUDE (deleted_at);
CREATE INDEX messages_of_user ON messages (user_id, created_at, id) INCLUDE (deleted_at) WHERE user_id IS NOT NULL;
CREATE INDEX messages_of_engine_session ON messages (engine_session_id, created_at, id)
WHERE engine_session_id IS NOT NULL;
CREATE INDEX messages_of_provider_session ON messages (provider_session_id, created_at, id)
WHERE provider_session_id IS NOT NULL;

CREATE TABLE chunks (
    stream_id uuid NOT NULL,
    seq bigint NOT NULL,
    chunks bigint NOT NULL,
    text text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (stream_id, seq)
);

CREATE TABLE logs (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    level bigint NOT NULL,
    event text COLLATE "C" NOT NULL,
    message text,
    agent_id text COLLATE "C",
    task_id text COLLATE "C",
    data json,
    normalised boolean NOT NULL
);

CREATE INDEX logs_by_time ON logs (created_at, id);
CREATE INDEX logs_by_event ON logs (event, created_at, id);
CREATE INDEX logs_of_agent ON logs (agent_id, created_at, id) WHERE agent_id IS NOT NULL;
CREATE INDEX logs_of_task ON logs (task_id, created_at, id) WHERE task_id IS NOT NULL;

-- The highest epoch that has written for each partition of the queue. Few rows, each updated in place by every batch.
CREATE TABLE fences (
    partition text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL
) WITH (fillfactor = 10);

-- State: one row for each task, agent, context and key, as the last write that took effect left it. A deleted row
-- stays for a while, empty, so that a late write does not bring it back.
-- `stamp` is what versions are compared by: 16 bytes of the producer's hybrid logical clock, as a uuid, which
-- compares alike. Pages are left some room, so that an update that changes no index stays in its page.

CREATE TABLE tasks (
    id text COLLATE "C" PRIMARY KEY,
    record_id uuid NOT NULL,
    stamp uuid NOT NULL,
    status_stamp uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    agent_id text COLLATE "C",
    task_type text COLLATE "C",
    priority text COLLATE "C",
    enabled boolean NOT NULL,
    description text,
    data json,
    status text COLLATE "C" NOT NULL,
    last_run_at timestamptz,
    next_run_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    duration_s double precision,
    result json,
    error text,
    normalised boolean NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX tasks_by_time ON tasks (created_at, id) WHERE deleted_at IS NULL;
-- With what an agent's statistics are made of.
CREATE INDEX tasks_of_agent ON tasks (agent_id, created_at, id) INCLUDE (status, duration_s) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_status ON tasks (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_of_type ON tasks (task_type, created_at, id)
WHERE deleted_at IS NULL AND task_type IS NOT NULL;
CREATE INDEX tasks_finished ON tasks (updated_at)
WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled');
CREATE INDEX tasks_deleted ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE agent_states (
    agent_id text COLLATE "C" PRIMARY KEY,
    record_id uuid NOT NULL,
    stamp uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    state text COLLATE "C" NOT NULL,
    role text COLLATE "C",
    goal text,
    backstory text,
    last_task_id text COLLATE "C",
    stats json,
    normalised boolean NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX agent_states_by_state ON agent_states (state, agent_id) WHERE deleted_at IS NULL;
CREATE INDEX agent_states_deleted ON agent_states (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE contexts (
    id text COLLATE "C" PRIMARY KEY,
    record_id uuid NOT NULL,
    stamp uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    expires_at timestamptz,
    agent_id text COLLATE "C",
    session_id text COLLATE "C",
    data json,
    normalised boolean NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX contexts_by_time ON contexts (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_of_agent ON contexts (agent_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_of_session ON contexts (session_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_expiring ON contexts (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX contexts_deleted ON contexts (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE key_values (
    namespace text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    record_id uuid NOT NULL,
    stamp uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    expires_at timestamptz,
    value json,
    normalised boolean NOT NULL,
    PRIMARY KEY (namespace, key)
) WITH (fillfactor = 80);

CREATE INDEX key_values_expiring ON key_values (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX key_values_deleted ON key_values (deleted_at) WHERE deleted_at IS NOT NULL;

-- What was deleted before it came: a whole session (with an empty `message_id`), or a message that is not there yet.
CREATE TABLE tombstones (
    session_id text COLLATE "C" NOT NULL,
    message_id bytea NOT NULL,
    record_id uuid NOT NULL,
    deleted_at timestamptz NOT NULL,
    PRIMARY KEY (session_id, message_id)
);

CREATE INDEX tombstones_by_time ON tombstones (deleted_at);

-- What else is asked of messages and logs.
CREATE INDEX messages_of_channel ON messages (channel_id, created_at, id) WHERE channel_id IS NOT NULL;
CREATE INDEX messages_of_thread ON messages (thread_id, created_at, id) WHERE thread_id IS NOT NULL;

-- With the level, of which an agent's statistics are made.
DROP INDEX logs_of_agent;
CREATE INDEX logs_of_agent ON logs (agent_id, created_at, id) INCLUDE (level) WHERE agent_id IS NOT NULL;

-- Few of many: those that somebody looks for.
CREATE INDEX logs_of_trouble ON logs (created_at, id) WHERE level >= 30;

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

INSERT INTO agent_states SELECT * FROM json_populate_record(NULL::agent_states, '{"agent_id":"a0","record_id":"8814c278-82fb-59e9-9f35-a0cb3125a4f4","stamp":"00000000-0000-0002-7072-6f6475636572","created_at":"2025-06-15T15:06:40.000004+00:00","updated_at":"2025-06-15T15:06:40.000004+00:00","deleted_at":null,"state":"busy","role":"guide","goal":null,"backstory":null,"last_task_id":null,"stats":null,"normalised":false}');
INSERT INTO chunks SELECT * FROM json_populate_record(NULL::chunks, '{"stream_id":"d431c3e4-fa21-57d1-9ab6-93941b275200","seq":0,"chunks":1,"text":"tok","created_at":"2025-06-15T15:06:40.000002+00:00"}');
INSERT INTO contexts SELECT * FROM json_populate_record(NULL::contexts, '{"id":"x0","record_id":"b3375101-4ef4-5eae-bdcf-9cde9e5bb39d","stamp":"00000000-0000-0003-7072-6f6475636572","created_at":"2025-06-15T15:06:40.000005+00:00","updated_at":"2025-06-15T15:06:40.000005+00:00","deleted_at":null,"expires_at":null,"agent_id":"a0","session_id":null,"data":{"k":"v"},"normalised":false}');
INSERT INTO fences SELECT * FROM json_populate_record(NULL::fences, '{"partition":"default/messages:0","epoch":3}');
INSERT INTO key_values SELECT * FROM json_populate_record(NULL::key_values, '{"namespace":"default","key":"k0","record_id":"df1ee2b1-349f-5e65-b3aa-5306569d95c1","stamp":"00000000-0000-0004-7072-6f6475636572","created_at":"2025-06-15T15:06:40.000006+00:00","updated_at":"2025-06-15T15:06:40.000006+00:00","deleted_at":null,"expires_at":null,"value":[1,2],"normalised":false}');
INSERT INTO logs SELECT * FROM json_populate_record(NULL::logs, '{"id":"bb48ccda-8680-5662-82ec-28640ebb2f00","created_at":"2025-06-15T15:06:40.000001+00:00","level":20,"event":"started","message":null,"agent_id":null,"task_id":null,"data":null,"normalised":false}');
INSERT INTO messages SELECT * FROM json_populate_record(NULL::messages, '{"id":"afce5a98-042c-55bf-8bb4-0fd7b591aebe","created_at":"2025-06-15T15:06:40+00:00","session_id":"s","role":"user","content":"from long ago 👩‍🚀","metadata":{"a":1},"user_id":null,"message_type":null,"platform":null,"from_user_id":null,"from_user_name":null,"to_user_id":null,"channel_id":null,"thread_id":null,"bot_user_id":null,"engine_session_id":null,"engine_namespace":null,"provider_session_id":null,"provider_type":null,"updated_at":null,"deleted_at":null,"state":null,"version":0,"normalised":false}');
INSERT INTO schema_migrations SELECT * FROM json_populate_record(NULL::schema_migrations, '{"number":1,"name":"initial","checksum":"4f40a701a83afffe05f5888f5bb4ace89d40ff8231cf22b9cba2b37c57b52fae","applied_at":"2026-11-21T13:44:37.52959+00:00"}');
INSERT INTO schema_migrations SELECT * FROM json_populate_record(NULL::schema_migrations, '{"number":2,"name":"state","checksum":"9cc3979fb683de2bab77ac7d092cdc27e5e7327e6f53bb08d20420e1d21ae818","applied_at":"2026-11-21T13:44:37.52959+00:00"}');
INSERT INTO schema_migrations SELECT * FROM json_populate_record(NULL::schema_migrations, '{"number":3,"name":"search","checksum":"935d28ee7fb18d3c2a2e74248fc85976f4687742aa4cefb1e651c4528f31e393","applied_at":"2026-11-21T13:44:37.52959+00:00"}');
INSERT INTO search_pending SELECT * FROM json_populate_record(NULL::search_pending, '{"id":"f17a782a-710e-4a60-9d7e-07f435bde121","since":"2025-06-15T15:06:40+00:00","until":"2025-06-15T15:06:40+00:00","until_id":"ffffffff-ffff-ffff-ffff-ffffffffffff"}');
INSERT INTO sessions SELECT * FROM json_populate_record(NULL::sessions, '{"id":"s","user_id":null,"platform":null,"message_count":1,"first_message_at":"2025-06-15T15:06:40+00:00","last_message_at":"2025-06-15T15:06:40+00:00","last_message_id":"afce5a98-042c-55bf-8bb4-0fd7b591aebe"}');
INSERT INTO tasks SELECT * FROM json_populate_record(NULL::tasks, '{"id":"t0","record_id":"13887822-5107-5278-b6ac-e1c147403d8a","stamp":"00000000-0000-0001-7072-6f6475636572","status_stamp":null,"created_at":"2025-06-15T15:06:40.000003+00:00","updated_at":"2025-06-15T15:06:40.000003+00:00","deleted_at":null,"agent_id":"a0","task_type":null,"priority":null,"enabled":true,"description":null,"data":{"n":1},"status":"running","last_run_at":null,"next_run_at":null,"started_at":null,"completed_at":null,"duration_s":null,"result":null,"error":null,"normalised":false}');
INSERT INTO tasks SELECT * FROM json_populate_record(NULL::tasks, '{"id":"t1","record_id":"d102e0b5-a75c-59e6-ade5-78aebe3b896a","stamp":"00000000-0000-0005-7072-6f6475636572","status_stamp":null,"created_at":"2025-06-15T15:06:40.000007+00:00","updated_at":"2025-06-15T15:06:40.000007+00:00","deleted_at":"2025-06-15T15:06:40.000007+00:00","agent_id":null,"task_type":null,"priority":null,"enabled":true,"description":null,"data":null,"status":"deleted","last_run_at":null,"next_run_at":null,"started_at":null,"completed_at":null,"duration_s":null,"result":null,"error":null,"normalised":false}');
INSERT INTO tombstones SELECT * FROM json_populate_record(NULL::tombstones, E'{"session_id":"gone","message_id":"\\\\x","record_id":"db04c12c-5a21-5707-a332-58a6501f4ece","deleted_at":"2025-06-15T15:06:40.000008+00:00"}');
