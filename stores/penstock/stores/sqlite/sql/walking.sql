-- Walking a table (`penstock.stores.walking`): its columns, from where to go on, and the order of its key.

-- name: chunk_columns
-- What a row does not keep of its record is empty.
SELECT k.stream_id, k.created_at, '', '', k.stream_id, k.seq, k.chunks, k.text, NULL, NULL, 0
FROM chunks AS k
