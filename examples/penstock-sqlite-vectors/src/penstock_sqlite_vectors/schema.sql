CREATE TABLE IF NOT EXISTS collections (
    name TEXT PRIMARY KEY,
    dimension INTEGER NOT NULL
);

-- One row a key, and none that is older than what was there before. A deletion is a row without a vector: it keeps
-- what is older from coming back.
CREATE TABLE IF NOT EXISTS vectors (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    id BLOB NOT NULL,
    created_at INTEGER NOT NULL,  -- microseconds since 1970 UTC
    vector BLOB,                  -- little-endian float32
    text TEXT,
    metadata BLOB,                -- JSON, as it was handed over
    normalised INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (collection, key)
);

CREATE INDEX IF NOT EXISTS tombstones ON vectors (collection, created_at) WHERE vector IS NULL;
