-- Faults of a SQLite store.

-- name: refuse_poison
CREATE TRIGGER IF NOT EXISTS testing_poison BEFORE INSERT ON messages WHEN new.content LIKE 'poison%'
BEGIN
    SELECT raise(ABORT, 'poison is not stored here');
END;

-- name: accept_poison
DROP TRIGGER IF EXISTS testing_poison;
