-- Connections of the pool.

-- name: ping
SELECT 1;
