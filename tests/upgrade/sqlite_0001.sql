BEGIN TRANSACTION;
CREATE TABLE chunks (
    stream_id BLOB NOT NULL CHECK (length(stream_id) = 16),
    seq INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (stream_id, seq)
) WITHOUT ROWID;
INSERT INTO "chunks" VALUES(X'CCBA8BBCF3295E4188D9B3B5E50AC96B',0,1,'tok',1750000000000002);
CREATE TABLE fences (
    partition TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "fences" VALUES('default/messages:0',3);
CREATE TABLE logs (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    created_at INTEGER NOT NULL,
    level INTEGER NOT NULL,
    event TEXT NOT NULL,
    message TEXT,
    agent_id TEXT,
    task_id TEXT,
    data TEXT CHECK (data IS NULL OR json_valid(data)),
    normalised INTEGER NOT NULL
);
INSERT INTO "logs" VALUES(X'BB48CCDA8680566282EC28640EBB2F00',1750000000000001,20,'started',NULL,NULL,NULL,NULL,0);
CREATE TABLE messages (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    created_at INTEGER NOT NULL,
    session_no INTEGER NOT NULL,
    role TEXT NOT NULL,
    content TEXT,
    metadata TEXT CHECK (metadata IS NULL OR json_valid(metadata)),
    user_id TEXT,
    message_type TEXT,
    platform TEXT,
    from_user_id TEXT,
    from_user_name TEXT,
    to_user_id TEXT,
    channel_id TEXT,
    thread_id TEXT,
    bot_user_id TEXT,
    engine_session_id TEXT,
    engine_namespace TEXT,
    provider_session_id TEXT,
    provider_type TEXT,
    updated_at INTEGER,
    deleted_at INTEGER,
    state TEXT CHECK (state IN ('streaming', 'interrupted')),
    version INTEGER NOT NULL,
    normalised INTEGER NOT NULL
);
INSERT INTO "messages" VALUES(X'AFCE5A98042C55BF8BB40FD7B591AEBE',1750000000000000,1,'user','from long ago 👩‍🚀','{"a":1}','u',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0);
CREATE TABLE schema_migrations (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL
);
INSERT INTO "schema_migrations" VALUES(1,'initial','99b042dc5dc4c9c86f4bbc1abf1a463aa1dff4ca42ab377cef68147d0cd16373',1750000000000000);
CREATE TABLE sessions (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT,
    platform TEXT,
    message_count INTEGER NOT NULL,
    first_message_at INTEGER NOT NULL,
    last_message_at INTEGER NOT NULL,
    last_message_id BLOB NOT NULL
);
INSERT INTO "sessions" VALUES(1,'s','u',NULL,1,1750000000000000,1750000000000000,X'AFCE5A98042C55BF8BB40FD7B591AEBE');
CREATE INDEX sessions_recent ON sessions (last_message_at);
CREATE INDEX sessions_of_user ON sessions (user_id, last_message_at) WHERE user_id IS NOT NULL;
CREATE INDEX messages_of_session ON messages (session_no, created_at, deleted_at);
CREATE INDEX messages_by_time ON messages (created_at, deleted_at);
CREATE INDEX messages_of_user ON messages (user_id, created_at, deleted_at) WHERE user_id IS NOT NULL;
CREATE INDEX messages_of_engine_session ON messages (engine_session_id, created_at)
WHERE engine_session_id IS NOT NULL;
CREATE INDEX messages_of_provider_session ON messages (provider_session_id, created_at)
WHERE provider_session_id IS NOT NULL;
CREATE INDEX logs_by_time ON logs (created_at);
CREATE INDEX logs_by_event ON logs (event, created_at);
CREATE INDEX logs_of_agent ON logs (agent_id, created_at) WHERE agent_id IS NOT NULL;
CREATE INDEX logs_of_task ON logs (task_id, created_at) WHERE task_id IS NOT NULL;
CREATE VIEW message_text AS
SELECT
    lower(
        substr(hex(m.id), 1, 8) || '-' || substr(hex(m.id), 9, 4) || '-' || substr(hex(m.id), 13, 4)
        || '-' || substr(hex(m.id), 17, 4) || '-' || substr(hex(m.id), 21)
    ) AS id,
    strftime('%Y-%m-%dT%H:%M:%S', m.created_at / 1000000, 'unixepoch')
    || printf('.%06dZ', m.created_at % 1000000) AS created_at,
    s.id AS session_id,
    m.role,
    m.content,
    m.metadata,
    m.user_id,
    m.message_type,
    m.platform,
    coalesce(m.state, 'complete') AS state,
    m.deleted_at IS NOT NULL AS deleted
FROM messages AS m
JOIN sessions AS s ON s.no = m.session_no;
COMMIT;
