"""Every statement. Values are bound."""

from importlib.resources import files

SCHEMA = files("penstock_sqlite_vectors").joinpath("schema.sql").read_text("utf-8")

DIMENSIONS = "SELECT name, dimension FROM collections ORDER BY name"
DIMENSION = "SELECT dimension FROM collections WHERE name = ?"
ADD_COLLECTION = "INSERT INTO collections VALUES (?, ?) ON CONFLICT DO NOTHING"
DROP_COLLECTION = "DELETE FROM collections WHERE name = ?"
DROP_VECTORS = "DELETE FROM vectors WHERE collection = ?"

# A row that is as new or newer stays, so a batch may be written again, and in any order with others.
PUT = """
INSERT INTO vectors (collection, key, id, created_at, vector, text, metadata, normalised)
VALUES (:collection, :key, :id, :created_at_us, :vector, :text, :metadata, :normalised)
ON CONFLICT DO UPDATE SET id = excluded.id, created_at = excluded.created_at, vector = excluded.vector,
    text = excluded.text, metadata = excluded.metadata, normalised = excluded.normalised
WHERE excluded.created_at > vectors.created_at
"""

VERSION = "SELECT created_at FROM vectors WHERE collection = ? AND key = ?"

# The columns of an `Embedding`, in its order.
ALL = """
SELECT id, created_at, collection, key, vector, text, metadata, normalised
FROM vectors WHERE collection = ? AND vector IS NOT NULL
"""
ONE = """
SELECT id, created_at, collection, key, vector, text, metadata, normalised
FROM vectors WHERE collection = ? AND key = ? AND vector IS NOT NULL
"""
WALK = """
SELECT id, created_at, collection, key, vector, text, metadata, normalised
FROM vectors WHERE collection = :collection AND (:after IS NULL OR key > :after) ORDER BY key LIMIT :limit
"""

COUNT = "SELECT count(vector), count(*) - count(vector) FROM vectors WHERE collection = ?"
HAS_TOMBSTONES = "SELECT EXISTS (SELECT 1 FROM vectors WHERE collection = ? AND vector IS NULL)"
REMOVE_TOMBSTONES = "DELETE FROM vectors WHERE collection = ? AND vector IS NULL AND created_at < ?"
