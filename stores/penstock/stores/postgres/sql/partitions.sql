-- Tables in partitions by ranges of ids. DDL takes no values, so it is put together here, by the server, which quotes
-- every name and every value; `names` are a table's and its partition's, which ends in digits of a day.

-- name: is_partitioned
SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass($1);

-- name: partitions
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass($1)
ORDER BY c.relname;

-- name: plan_once
-- Over 50 partitions a plan takes 1.6 ms to make and 0.3 ms to carry out. The server would make it anew for each
-- question, as it knows no limit of the page while it keeps one. An older server has no such setting, and sets nothing.
SELECT set_config('plan_cache_mode', 'force_generic_plan', false)
FROM pg_class
WHERE oid = to_regclass('messages') AND relkind = 'p' AND current_setting('plan_cache_mode', true) = 'auto';

-- name: server_time
SELECT clock_timestamp();

-- name: lock_tables
-- In the order of the writers, or two would wait for each other.
LOCK TABLE messages, logs IN ACCESS EXCLUSIVE MODE;

-- name: what_would_stay_behind
-- What hangs on the table itself would go with it when it becomes a partition.
SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal
UNION ALL
SELECT DISTINCT 'view ' || v.relname
FROM pg_depend AS d
JOIN pg_rewrite AS r ON r.oid = d.objid
JOIN pg_class AS v ON v.oid = r.ev_class
WHERE
    d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass($1)
    AND v.oid <> d.refobjid
UNION ALL
SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = to_regclass($1)
UNION ALL
SELECT 'foreign key ' || conname FROM pg_constraint
WHERE contype = 'f' AND to_regclass($1) IN (conrelid, confrelid)
UNION ALL
SELECT 'publication ' || p.pubname
FROM pg_publication_rel AS r
JOIN pg_publication AS p ON p.oid = r.prpubid
WHERE r.prrelid = to_regclass($1);

-- name: divide
-- The table $1 takes the name $2; in its place comes one in partitions, with the same columns, constraints, indexes,
-- owner and grants, and with a default partition $3.
WITH renamed AS (
    SELECT
        i.relname,
        pg_get_indexdef(i.oid) AS definition,
        c.conname,
        pg_get_constraintdef(c.oid) AS constraint_definition
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid
    LEFT JOIN pg_constraint AS c ON c.conindid = i.oid AND c.conrelid = x.indrelid
    WHERE x.indrelid = to_regclass($1) AND x.indisvalid
),

grants AS (
    SELECT
        g.privilege_type,
        g.is_grantable,
        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS grantee
    FROM pg_class AS t
    CROSS JOIN LATERAL aclexplode(t.relacl) AS g
    WHERE t.oid = to_regclass($1) AND g.grantee <> t.relowner
)

SELECT concat_ws(
    E';\n',
    format('ALTER TABLE %I RENAME TO %I', $1::text, $2::text),
    (SELECT string_agg(format('ALTER INDEX %I RENAME TO %I', relname, left($2 || '_' || relname, 63)), '; ') FROM renamed),
    format(
        'CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (id)', $1::text, $2::text
    ),
    (
        SELECT
            string_agg(
                CASE
                    WHEN conname IS NULL THEN definition
                    ELSE format('ALTER TABLE %I ADD CONSTRAINT %I %s', $1::text, conname, constraint_definition)
                END,
                '; '
            )
        FROM renamed
    ),
    format('CREATE TABLE %I PARTITION OF %I DEFAULT', $3::text, $1::text),
    (
        SELECT format('ALTER TABLE %I OWNER TO %I', $1::text, pg_get_userbyid(relowner))
        FROM pg_class
        WHERE oid = to_regclass($1)
    ),
    (
        SELECT
            string_agg(
                format('GRANT %s ON %I TO %s', privilege_type, $1::text, grantee)
                || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
                '; '
            )
        FROM grants
    )
);

-- name: has_rows
SELECT format('SELECT EXISTS (SELECT FROM %I)', $1::text);

-- name: drop_table
SELECT format('DROP TABLE %I', $1::text);

-- name: attach_divided
-- What was the table $1 becomes its partition $2; rows beyond its bounds go where they belong.
SELECT format(
    'WITH beyond AS (DELETE FROM %2$I WHERE id >= %4$L OR id < %3$L RETURNING *)
    INSERT INTO %1$I SELECT * FROM beyond;
    ALTER TABLE %1$I ATTACH PARTITION %2$I FOR VALUES FROM (%3$L) TO (%4$L)',
    $1::text, $2::text, $3::uuid, $4::uuid
);

-- name: make_partition
-- The default partition is held first: a row that came to it meanwhile would forbid the new one. Nobody who writes or
-- reads waits for more than that. Rows that lie there and belong to the new one are moved.
SELECT format(
    'LOCK TABLE ONLY %1$I IN SHARE UPDATE EXCLUSIVE MODE;
    LOCK TABLE %5$I IN ACCESS EXCLUSIVE MODE;
    CREATE TABLE %2$I (LIKE %1$I INCLUDING ALL);
    WITH early AS (DELETE FROM %5$I WHERE id >= %3$L AND id < %4$L RETURNING *)
    INSERT INTO %2$I SELECT * FROM early;
    ALTER TABLE %1$I ATTACH PARTITION %2$I FOR VALUES FROM (%3$L) TO (%4$L)',
    $1::text, $2::text, $3::uuid, $4::uuid, $5::text
);

-- name: detach_partition
SELECT format('ALTER TABLE %I DETACH PARTITION %I', $1::text, $2::text);

-- name: keep_younger
-- Rows of the detached partition $2 that are younger than their ids say go to the default partition.
SELECT format('INSERT INTO %I SELECT * FROM %I WHERE created_at >= $1', $1::text, $2::text);

-- name: delete_slice
SELECT format(
    'DELETE FROM %1$I WHERE id = ANY(ARRAY(
        SELECT id FROM %1$I WHERE created_at < $1 ORDER BY created_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
    ))',
    $1::text
);

-- name: outside
-- Of the lowest ids, those that a producer's clock made, and those of callers' own keys. Byte 6, from 0, has the version.
SELECT format(
    'SELECT count(*) FILTER (WHERE by_time), count(*) FILTER (WHERE NOT by_time) FROM (
        SELECT get_byte(uuid_send(id), 6) >> 4 = 7 AS by_time FROM %I ORDER BY id LIMIT $1
    ) AS lowest',
    $1::text
);
