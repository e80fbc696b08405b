-- The highest epoch that has written for each partition of the queue.

-- name: fence
SELECT epoch FROM fences WHERE partition = ?1;

-- name: raise_fence
INSERT INTO fences (partition, epoch) VALUES (?1, ?2)
ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch WHERE excluded.epoch > fences.epoch;
