-- States of agents. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: agent_state_columns
SELECT
    a.record_id, a.updated_at, a.stamp, a.agent_id, a.state, a.role, a.goal, a.backstory, a.last_task_id,
    CAST(a.stats AS BLOB), a.deleted_at, a.normalised, a.created_at
FROM agent_states AS a

-- name: agent_state_is_roles
a.role IN (SELECT value FROM json_each(:roles))

-- name: agent_state_rows
-- What is stored under some keys, a JSON array of arrays.
SELECT
    a.record_id, a.updated_at, a.stamp, a.agent_id, a.state, a.role, a.goal, a.backstory, a.last_task_id,
    CAST(a.stats AS BLOB), a.deleted_at, a.normalised, a.created_at
FROM json_each(:keys) AS wanted
CROSS JOIN agent_states AS a ON a.agent_id = json_extract(wanted.value, '$[0]');

-- name: write_agent_state
INSERT INTO agent_states (
    record_id, updated_at, stamp, agent_id, state, role, goal, backstory, last_task_id, stats, deleted_at, normalised,
    created_at
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?
)
ON CONFLICT (agent_id) DO UPDATE SET
    record_id = excluded.record_id, updated_at = excluded.updated_at, stamp = excluded.stamp, state = excluded.state,
    role = excluded.role, goal = excluded.goal, backstory = excluded.backstory, last_task_id = excluded.last_task_id,
    stats = excluded.stats, deleted_at = excluded.deleted_at, normalised = excluded.normalised,
    created_at = excluded.created_at;
