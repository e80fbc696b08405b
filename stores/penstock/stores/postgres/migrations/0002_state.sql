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
