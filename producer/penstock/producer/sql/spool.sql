-- A producer's spool: what the queue did not take, in order.

-- name: create_about
CREATE TABLE about (id TEXT NOT NULL, namespace TEXT NOT NULL, created_at_us INTEGER NOT NULL);

-- name: create_runs
-- A run is records of one lane in their order: `body` holds key, record, key, record, ...; it becomes one push.
-- `seq` orders the file. Runs with one `seq` were one, and are of different partitions: cut for `parts` of them, or not
-- cut yet (`parts` is 0, `part` -1). `level` is how durable they must be in the queue before they are deleted here.
CREATE TABLE runs (
    seq INTEGER NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL, lane TEXT NOT NULL,
    producer TEXT NOT NULL, number INTEGER NOT NULL,
    records INTEGER NOT NULL, bytes INTEGER NOT NULL, level INTEGER NOT NULL, at_us INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (seq, part)
);

-- name: create_order
CREATE INDEX runs_in_order ON runs (lane, part, seq);

-- name: insert_about
INSERT INTO about (id, namespace, created_at_us) VALUES (?, ?, ?);

-- name: about
SELECT id, namespace, created_at_us FROM about;

-- name: last_seq
SELECT coalesce(max(seq), 0) FROM runs;

-- name: insert_run
INSERT INTO runs (seq, part, parts, lane, producer, number, records, bytes, level, at_us, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: next_run
SELECT seq, producer, number, records, bytes, level, body FROM runs WHERE lane = ? AND part = ? AND seq > ? AND parts = ?
ORDER BY seq LIMIT 1;

-- name: delete_run
DELETE FROM runs WHERE seq = ? AND part = ?;

-- name: uncut_seqs
-- What is not cut for this number of partitions, behind a place; each with the bytes it holds.
SELECT seq, sum(bytes) FROM runs WHERE parts <> ? AND seq > ? GROUP BY seq ORDER BY seq LIMIT ?;

-- name: runs_of_seq
SELECT part, lane, at_us, level, body FROM runs WHERE seq = ? ORDER BY part;

-- name: delete_seq
DELETE FROM runs WHERE seq = ?;

-- name: totals
SELECT lane, part, sum(records), sum(bytes) FROM runs GROUP BY lane, part;

-- name: totals_cut
SELECT lane, part, sum(records), sum(bytes) FROM runs WHERE parts = ? GROUP BY lane, part;

-- name: summary
SELECT coalesce(sum(records), 0), coalesce(sum(bytes), 0), min(at_us) FROM runs;
