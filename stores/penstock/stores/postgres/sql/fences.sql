-- The highest epoch that has written for each partition of the queue.

-- name: hold_fence
-- Keeps the row locked until the commit: an owner that comes later waits and then sees this epoch. No row: stale.
-- Takes the locks of sessions too, as `lock_sessions` does: a round trip less for each batch.
WITH held AS (
    INSERT INTO fences (partition, epoch) VALUES ($1, $2)
    ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch WHERE fences.epoch <= excluded.epoch
    RETURNING epoch
)

SELECT
    held.epoch,
    (
        SELECT count(
            CASE
                WHEN given.alone THEN pg_advisory_xact_lock(504626, given.number)
                ELSE pg_advisory_xact_lock_shared(504626, given.number)
            END
        )
        FROM unnest($3::integer [], $4::boolean []) AS given (number, alone)
    ) AS locks
FROM held;

-- name: fence
SELECT epoch FROM fences WHERE partition = $1;
