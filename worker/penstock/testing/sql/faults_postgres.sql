-- Faults of a PostgreSQL store.

-- name: other_sessions
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';

-- name: refuse_poison
CREATE OR REPLACE FUNCTION testing_refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.content LIKE 'poison%' THEN
        RAISE EXCEPTION 'poison is not stored here';
    END IF;
    RETURN new;
END
$$;
CREATE OR REPLACE TRIGGER testing_poison BEFORE INSERT ON messages
FOR EACH ROW EXECUTE FUNCTION testing_refuse_poison();

-- name: accept_poison
DROP TRIGGER IF EXISTS testing_poison ON messages;
DROP FUNCTION IF EXISTS testing_refuse_poison();
