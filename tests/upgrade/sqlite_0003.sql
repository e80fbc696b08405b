BEGIN TRANSACTION;
CREATE TABLE agent_states (
    agent_id TEXT NOT NULL PRIMARY KEY,
    record_id BLOB NOT NULL CHECK (length(record_id) = 16),
    stamp BLOB NOT NULL CHECK (length(stamp) = 16),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    state TEXT NOT NULL,
    role TEXT,
    goal TEXT,
    backstory TEXT,
    last_task_id TEXT,
    stats TEXT CHECK (stats IS NULL OR json_valid(stats)),
    normalised INTEGER NOT NULL
);
INSERT INTO "agent_states" VALUES('a0',X'8814C27882FB59E99F35A0CB3125A4F4',X'000000000000000270726F6475636572',1750000000000004,1750000000000004,NULL,'busy','guide',NULL,NULL,NULL,NULL,0);
CREATE TABLE chunks (
    stream_id BLOB NOT NULL CHECK (length(stream_id) = 16),
    seq INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (stream_id, seq)
) WITHOUT ROWID;
INSERT INTO "chunks" VALUES(X'D431C3E4FA2157D19AB693941B275200',0,1,'tok',1750000000000002);
CREATE TABLE contexts (
    id TEXT NOT NULL PRIMARY KEY,
    record_id BLOB NOT NULL CHECK (length(record_id) = 16),
    stamp BLOB NOT NULL CHECK (length(stamp) = 16),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    expires_at INTEGER,
    agent_id TEXT,
    session_id TEXT,
    data TEXT CHECK (data IS NULL OR json_valid(data)),
    normalised INTEGER NOT NULL
);
INSERT INTO "contexts" VALUES('x0',X'B33751014EF45EAEBDCF9CDE9E5BB39D',X'000000000000000370726F6475636572',1750000000000005,1750000000000005,NULL,NULL,'a0',NULL,'{"k":"v"}',0);
CREATE TABLE fences (
    partition TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "fences" VALUES('default/messages:0',3);
CREATE TABLE key_values (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    record_id BLOB NOT NULL CHECK (length(record_id) = 16),
    stamp BLOB NOT NULL CHECK (length(stamp) = 16),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    expires_at INTEGER,
    value TEXT CHECK (value IS NULL OR json_valid(value)),
    normalised INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
);
INSERT INTO "key_values" VALUES('default','k0',X'DF1EE2B1349F5E65B3AA5306569D95C1',X'000000000000000470726F6475636572',1750000000000006,1750000000000006,NULL,NULL,'[1,2]',0);
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
INSERT INTO "messages" VALUES(X'AFCE5A98042C55BF8BB40FD7B591AEBE',1750000000000000,1,'user','from long ago 👩‍🚀','{"a":1}',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0);
CREATE TABLE schema_migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);
INSERT INTO "schema_migrations" VALUES(1,'initial','99b042dc5dc4c9c86f4bbc1abf1a463aa1dff4ca42ab377cef68147d0cd16373',1795268675515552);
INSERT INTO "schema_migrations" VALUES(2,'state','cba1cad21a46141e6f83727c5ca3afc75fda0b8b340e6c7f0975fa04d902a65b',1795268675516662);
INSERT INTO "schema_migrations" VALUES(3,'search','a564fcff4b5adc4d171671e9f68110d247820f01c4bba74002263f1ae9ca287f',1795268675517053);
CREATE TABLE search_entries (
    no INTEGER PRIMARY KEY,
    message_id BLOB UNIQUE,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE TABLE search_pending (
    no INTEGER PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    until_id BLOB NOT NULL
);
INSERT INTO "search_pending" VALUES(1,1750000000000000,1750000000000000,X'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF');
PRAGMA writable_schema=ON;
INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql)VALUES('table','search_words','search_words',0,'CREATE VIRTUAL TABLE search_words USING fts5 (words, tokenize = ''ascii'', columnsize = 0)');
CREATE TABLE 'search_words_config'(k PRIMARY KEY, v) WITHOUT ROWID;
INSERT INTO "search_words_config" VALUES('version',4);
CREATE TABLE 'search_words_content'(id INTEGER PRIMARY KEY, c0);
CREATE TABLE 'search_words_data'(id INTEGER PRIMARY KEY, block BLOB);
INSERT INTO "search_words_data" VALUES(1,X'');
INSERT INTO "search_words_data" VALUES(10,X'00000000000000');
CREATE TABLE 'search_words_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;
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
INSERT INTO "sessions" VALUES(1,'s',NULL,NULL,1,1750000000000000,1750000000000000,X'AFCE5A98042C55BF8BB40FD7B591AEBE');
CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    record_id BLOB NOT NULL CHECK (length(record_id) = 16),
    stamp BLOB NOT NULL CHECK (length(stamp) = 16),
    status_stamp BLOB CHECK (length(status_stamp) = 16),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    agent_id TEXT,
    task_type TEXT,
    priority TEXT,
    enabled INTEGER NOT NULL,
    description TEXT,
    data TEXT CHECK (data IS NULL OR json_valid(data)),
    status TEXT NOT NULL,
    last_run_at INTEGER,
    next_run_at INTEGER,
    started_at INTEGER,
    completed_at INTEGER,
    duration_s REAL,
    result TEXT CHECK (result IS NULL OR json_valid(result)),
    error TEXT,
    normalised INTEGER NOT NULL
);
INSERT INTO "tasks" VALUES('t0',X'1388782251075278B6ACE1C147403D8A',X'000000000000000170726F6475636572',NULL,1750000000000003,1750000000000003,NULL,'a0',NULL,NULL,1,NULL,'{"n":1}','running',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "tasks" VALUES('t1',X'D102E0B5A75C59E6ADE578AEBE3B896A',X'000000000000000570726F6475636572',NULL,1750000000000007,1750000000000007,1750000000000007,NULL,NULL,NULL,1,NULL,NULL,'deleted',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE tombstones (
    session_id TEXT NOT NULL,
    message_id BLOB NOT NULL,
    record_id BLOB NOT NULL CHECK (length(record_id) = 16),
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (session_id, message_id)
) WITHOUT ROWID;
INSERT INTO "tombstones" VALUES('gone',X'',X'DB04C12C5A215707A33258A6501F4ECE',1750000000000008);
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
CREATE INDEX tasks_by_time ON tasks (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_of_agent ON tasks (agent_id, created_at, id, status, duration_s) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_status ON tasks (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_of_type ON tasks (task_type, created_at, id) WHERE deleted_at IS NULL AND task_type IS NOT NULL;
CREATE INDEX tasks_finished ON tasks (updated_at)
WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled');
CREATE INDEX tasks_deleted ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX agent_states_by_state ON agent_states (state, agent_id) WHERE deleted_at IS NULL;
CREATE INDEX agent_states_deleted ON agent_states (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX contexts_by_time ON contexts (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_of_agent ON contexts (agent_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_of_session ON contexts (session_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_expiring ON contexts (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX contexts_deleted ON contexts (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX key_values_expiring ON key_values (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX key_values_deleted ON key_values (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX tombstones_by_time ON tombstones (deleted_at);
CREATE INDEX messages_of_channel ON messages (channel_id, created_at) WHERE channel_id IS NOT NULL;
CREATE INDEX messages_of_thread ON messages (thread_id, created_at) WHERE thread_id IS NOT NULL;
CREATE INDEX logs_of_agent ON logs (agent_id, created_at, level) WHERE agent_id IS NOT NULL;
CREATE INDEX logs_of_trouble ON logs (created_at) WHERE level >= 30;
CREATE TRIGGER search_forgets AFTER DELETE ON messages
BEGIN
    UPDATE search_entries SET message_id = NULL WHERE message_id = old.id;
END;
PRAGMA writable_schema=OFF;
COMMIT;
