-- The nearest vectors.

-- name: nearest
-- The inner question may be answered by an index, in an order that is nearly right; the outer one puts it right. A vector
-- of zeros has no cosine: its distance is NaN, which is above every number.
WITH near AS MATERIALIZED (
    SELECT e.key, e.text, e.metadata, {distance} AS distance
    FROM {table} AS e
    WHERE e.vector IS NOT NULL AND {condition}
    ORDER BY {order}, e.key
    LIMIT :candidates
)

SELECT near.key, near.text, near.metadata, near.distance, (SELECT count(*) FROM near) AS seen
FROM near
WHERE near.distance <> 'NaN'::double precision
ORDER BY near.distance, near.key
LIMIT :top_k;

-- name: distance
(e.vector OPERATOR({extension}{operator}) :vector::{extension}vector)

-- name: distance_past_indexes
-- The same, but no index has it.
((e.vector OPERATOR({extension}{operator}) :vector::{extension}vector) + 0)

-- name: distance_by_half
-- Of vectors in half the bytes, which is all that an index holds of more than 2,000 numbers.
e.vector::{extension}halfvec({dimension}) OPERATOR({extension}{operator}) :vector::{extension}vector::{extension}halfvec({dimension})

-- name: may_contain
-- Answered by an index of what metadata holds (`index_metadata`). A whole condition follows it, which is stricter.
e.metadata::jsonb @> {value}::jsonb
