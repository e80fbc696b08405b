-- What is told of a database beside its records.

-- name: server_version
SHOW server_version;

-- name: write_probe
-- To be rolled back.
INSERT INTO fences (partition, epoch) VALUES ($1, 1) ON CONFLICT (partition) DO NOTHING;

-- How many rows there are. A table with more than $1 is not counted, which would read all of it, but estimated.

-- name: count_records
SELECT
    (SELECT count(*) FROM (SELECT FROM messages LIMIT $1) AS few),
    (SELECT count(*) FROM (SELECT FROM sessions LIMIT $1) AS few),
    (SELECT count(*) FROM (SELECT FROM logs LIMIT $1) AS few);

-- name: count_state
SELECT
    (SELECT count(*) FROM (SELECT FROM tasks LIMIT $1) AS few),
    (SELECT count(*) FROM (SELECT FROM agent_states LIMIT $1) AS few),
    (SELECT count(*) FROM (SELECT FROM contexts LIMIT $1) AS few),
    (SELECT count(*) FROM (SELECT FROM key_values LIMIT $1) AS few);

-- The planner's own estimates: rows of a page when it was analysed last, by the pages that there are now. It knows every
-- partition, and tables that were never analysed.

-- name: estimate_messages
EXPLAIN (FORMAT JSON) SELECT FROM messages;

-- name: estimate_sessions
EXPLAIN (FORMAT JSON) SELECT FROM sessions;

-- name: estimate_logs
EXPLAIN (FORMAT JSON) SELECT FROM logs;

-- name: estimate_tasks
EXPLAIN (FORMAT JSON) SELECT FROM tasks;

-- name: estimate_agent_states
EXPLAIN (FORMAT JSON) SELECT FROM agent_states;

-- name: estimate_contexts
EXPLAIN (FORMAT JSON) SELECT FROM contexts;

-- name: estimate_key_values
EXPLAIN (FORMAT JSON) SELECT FROM key_values;

-- name: size_on_disk
-- A partitioned table has no size of its own.
SELECT sum(
    pg_total_relation_size(to_regclass(ours.name))
    + coalesce(
        (SELECT sum(pg_total_relation_size(p.relid)) FROM pg_partition_tree(to_regclass(ours.name)) AS p WHERE p.isleaf),
        0
    )
)::bigint
FROM unnest($1::text[]) AS ours (name);
