-- The database of release 0.1: its migration as it was released, the schema's own table, and a few rows.
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

INSERT INTO schema_migrations (number, name, checksum) VALUES (1, 'initial', '4f40a701a83afffe05f5888f5bb4ace89d40ff8231cf22b9cba2b37c57b52fae');
INSERT INTO messages (id, created_at, session_id, role, content, metadata, version, normalised)
VALUES ('afce5a98042c55bf8bb40fd7b591aebe', timestamptz 'epoch' + 1750000000000000 * interval '1 microsecond', 's', 'user', 'from long ago 👩‍🚀', '{"a":1}', 0, false);
INSERT INTO sessions (id, user_id, platform, message_count, first_message_at, last_message_at, last_message_id)
VALUES ('s', NULL, NULL, 1, timestamptz 'epoch' + 1750000000000000 * interval '1 microsecond', timestamptz 'epoch' + 1750000000000000 * interval '1 microsecond', 'afce5a98042c55bf8bb40fd7b591aebe');
INSERT INTO chunks (stream_id, seq, chunks, text, created_at)
VALUES ('d431c3e4fa2157d19ab693941b275200', 0, 1, 'tok', timestamptz 'epoch' + 1750000000000002 * interval '1 microsecond');
INSERT INTO logs (id, created_at, level, event, normalised)
VALUES ('bb48ccda8680566282ec28640ebb2f00', timestamptz 'epoch' + 1750000000000001 * interval '1 microsecond', 20, 'started', false);
INSERT INTO fences (partition, epoch) VALUES ('default/messages:0', 3);
