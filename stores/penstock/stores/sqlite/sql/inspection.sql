-- How many rows there are.

-- name: count_records
SELECT
    (SELECT count(*) FROM messages),
    (SELECT count(*) FROM sessions),
    (SELECT count(*) FROM logs);

-- name: count_state
SELECT
    (SELECT count(*) FROM tasks),
    (SELECT count(*) FROM agent_states),
    (SELECT count(*) FROM contexts),
    (SELECT count(*) FROM key_values);
