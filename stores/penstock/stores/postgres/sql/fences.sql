-- The highest epoch that has written for each partition of the queue.

-- name: hold_fence
-- Keeps the row locked until the commit: an owner that comes later waits and then sees this epoch. No row: stale.
INSERT INTO fences (partition, epoch) VALUES ($1, $2)
ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch WHERE fences.epoch <= excluded.epoch
RETURNING epoch;

-- name: fence
SELECT epoch FROM fences WHERE partition = $1;
