-- A table for each collection (`vectors_<number>`, made by its first vector), since an index needs one dimension for all
-- its rows, and a collection then goes at once.

CREATE TABLE {home}vector_collections (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    dimension integer NOT NULL CHECK (dimension > 0)
);

-- The highest epoch that has written for each partition of the queue.
CREATE TABLE {home}vector_fences (
    partition text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL
);
