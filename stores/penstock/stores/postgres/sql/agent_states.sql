-- States of agents. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: agent_state_columns
SELECT
    a.record_id, a.updated_at, a.stamp, a.agent_id, a.state, a.role, a.goal, a.backstory, a.last_task_id, a.stats,
    a.deleted_at, a.normalised, a.created_at
FROM agent_states AS a

-- name: agent_state_is_roles
a.role = ANY(:roles)

-- name: agent_state_rows
-- What is stored under some keys, locked until the commit.
SELECT
    a.record_id, a.updated_at, a.stamp, a.agent_id, a.state, a.role, a.goal, a.backstory, a.last_task_id, a.stats,
    a.deleted_at, a.normalised, a.created_at
FROM unnest($1::text []) AS wanted (agent_id)
JOIN agent_states AS a ON a.agent_id = wanted.agent_id
ORDER BY a.agent_id
FOR UPDATE OF a;

-- name: insert_agent_states
-- Fewer rows than were given: somebody else has made one meanwhile.
INSERT INTO agent_states (
    record_id, updated_at, stamp, agent_id, state, role, goal, backstory, last_task_id, stats, deleted_at, normalised,
    created_at
)
SELECT *
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::text [], $6::text [], $7::text [], $8::text [],
    $9::text [], $10::json [], $11::timestamptz [], $12::boolean [], $13::timestamptz []
)
ON CONFLICT (agent_id) DO NOTHING;

-- name: replace_agent_states
UPDATE agent_states AS a SET
    record_id = given.record_id, updated_at = given.updated_at, stamp = given.stamp, state = given.state,
    role = given.role, goal = given.goal, backstory = given.backstory, last_task_id = given.last_task_id,
    stats = given.stats, deleted_at = given.deleted_at, normalised = given.normalised, created_at = given.created_at
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::text [], $6::text [], $7::text [], $8::text [],
    $9::text [], $10::json [], $11::timestamptz [], $12::boolean [], $13::timestamptz []
) AS given (
    record_id, updated_at, stamp, agent_id, state, role, goal, backstory, last_task_id, stats, deleted_at, normalised,
    created_at
)
WHERE a.agent_id = given.agent_id;
