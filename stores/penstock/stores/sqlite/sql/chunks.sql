-- Chunks of streams, kept where the policy is `all_chunks`.

-- name: insert_chunk
INSERT INTO chunks (stream_id, seq, chunks, text, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (stream_id, seq) DO NOTHING;
