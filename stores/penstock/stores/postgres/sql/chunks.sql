-- Chunks of streams, kept where the policy is `all_chunks`.

-- name: insert_chunks
INSERT INTO chunks (stream_id, seq, chunks, text, created_at)
SELECT * FROM unnest($1::uuid [], $2::bigint [], $3::bigint [], $4::text [], $5::timestamptz [])
ON CONFLICT (stream_id, seq) DO NOTHING;
