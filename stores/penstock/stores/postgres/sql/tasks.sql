-- Tasks. Columns come in the order of the record's fields (`penstock.wire.records`).

-- name: task_columns
SELECT
    t.record_id, t.updated_at, t.stamp, t.id, t.status, t.agent_id, t.task_type, t.priority, t.enabled, t.description,
    t.data, t.last_run_at, t.next_run_at, t.started_at, t.completed_at, t.duration_s, t.result, t.error, t.deleted_at,
    t.normalised, t.created_at, t.status_stamp
FROM tasks AS t

-- name: task_rows
-- What is stored under some keys, locked until the commit.
SELECT
    t.record_id, t.updated_at, t.stamp, t.id, t.status, t.agent_id, t.task_type, t.priority, t.enabled, t.description,
    t.data, t.last_run_at, t.next_run_at, t.started_at, t.completed_at, t.duration_s, t.result, t.error, t.deleted_at,
    t.normalised, t.created_at, t.status_stamp
FROM unnest($1::text []) AS wanted (id)
JOIN tasks AS t ON t.id = wanted.id
ORDER BY t.id
FOR UPDATE OF t;

-- name: insert_tasks
-- Fewer rows than were given: somebody else has made one meanwhile.
INSERT INTO tasks (
    record_id, updated_at, stamp, id, status, agent_id, task_type, priority, enabled, description, data, last_run_at,
    next_run_at, started_at, completed_at, duration_s, result, error, deleted_at, normalised, created_at, status_stamp
)
SELECT *
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::text [], $6::text [], $7::text [], $8::text [],
    $9::boolean [], $10::text [], $11::json [], $12::timestamptz [], $13::timestamptz [], $14::timestamptz [],
    $15::timestamptz [], $16::double precision [], $17::json [], $18::text [], $19::timestamptz [], $20::boolean [],
    $21::timestamptz [], $22::uuid []
)
ON CONFLICT (id) DO NOTHING;

-- name: replace_tasks
UPDATE tasks AS t SET
    record_id = given.record_id, updated_at = given.updated_at, stamp = given.stamp, status = given.status,
    agent_id = given.agent_id, task_type = given.task_type, priority = given.priority, enabled = given.enabled,
    description = given.description, data = given.data, last_run_at = given.last_run_at,
    next_run_at = given.next_run_at, started_at = given.started_at, completed_at = given.completed_at,
    duration_s = given.duration_s, result = given.result, error = given.error, deleted_at = given.deleted_at,
    normalised = given.normalised, created_at = given.created_at, status_stamp = given.status_stamp
FROM unnest(
    $1::uuid [], $2::timestamptz [], $3::uuid [], $4::text [], $5::text [], $6::text [], $7::text [], $8::text [],
    $9::boolean [], $10::text [], $11::json [], $12::timestamptz [], $13::timestamptz [], $14::timestamptz [],
    $15::timestamptz [], $16::double precision [], $17::json [], $18::text [], $19::timestamptz [], $20::boolean [],
    $21::timestamptz [], $22::uuid []
) AS given (
    record_id, updated_at, stamp, id, status, agent_id, task_type, priority, enabled, description, data, last_run_at,
    next_run_at, started_at, completed_at, duration_s, result, error, deleted_at, normalised, created_at, status_stamp
)
WHERE t.id = given.id;
