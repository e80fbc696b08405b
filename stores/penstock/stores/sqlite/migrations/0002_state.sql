-- State: one row for each task, agent, context and key, as the last write that took effect left it. A deleted row
-- stays for a while, empty, so that a late write does not bring it back.
-- `stamp` is what versions are compared by: 16 bytes of the producer's hybrid logical clock.

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

CREATE INDEX tasks_by_time ON tasks (created_at, id) WHERE deleted_at IS NULL;
-- With what an agent's statistics are made of.
CREATE INDEX tasks_of_agent ON tasks (agent_id, created_at, id, status, duration_s) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_status ON tasks (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_of_type ON tasks (task_type, created_at, id) WHERE deleted_at IS NULL AND task_type IS NOT NULL;
CREATE INDEX tasks_finished ON tasks (updated_at)
WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled');
CREATE INDEX tasks_deleted ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;

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

CREATE INDEX agent_states_by_state ON agent_states (state, agent_id) WHERE deleted_at IS NULL;
CREATE INDEX agent_states_deleted ON agent_states (deleted_at) WHERE deleted_at IS NOT NULL;

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

CREATE INDEX contexts_by_time ON contexts (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_of_agent ON contexts (agent_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_of_session ON contexts (session_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contexts_expiring ON contexts (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX contexts_deleted ON contexts (deleted_at) WHERE deleted_at IS NOT NULL;

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

CREATE INDEX key_values_expiring ON key_values (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX key_values_deleted ON key_values (deleted_at) WHERE deleted_at IS NOT NULL;

-- What was deleted before it came: a whole session (with an empty `message_id`), or a message that is not there yet.
CREATE TABLE tombstones (
    session_id TEXT NOT NULL,
    message_id BLOB NOT NULL,
    record_id BLOB NOT NULL CHECK (length(record_id) = 16),
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (session_id, message_id)
) WITHOUT ROWID;

CREATE INDEX tombstones_by_time ON tombstones (deleted_at);

-- What else is asked of messages and logs.
CREATE INDEX messages_of_channel ON messages (channel_id, created_at) WHERE channel_id IS NOT NULL;
CREATE INDEX messages_of_thread ON messages (thread_id, created_at) WHERE thread_id IS NOT NULL;

-- With the level, of which an agent's statistics are made.
DROP INDEX logs_of_agent;
CREATE INDEX logs_of_agent ON logs (agent_id, created_at, level) WHERE agent_id IS NOT NULL;

-- Few of many: those that somebody looks for.
CREATE INDEX logs_of_trouble ON logs (created_at) WHERE level >= 30;
