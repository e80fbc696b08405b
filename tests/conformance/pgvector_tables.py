"""The tables of vectors, seen past the store; tests share a schema, as making one takes longer than most of them."""

from __future__ import annotations

import orjson

from penstock.stores.pgvector import open_vector
from penstock.testing.conformance.vector_records import Row
from tests.conformance.postgres_server import Schema

_EMPTY = """
DO $$
DECLARE
    number integer;
BEGIN
    FOR number IN DELETE FROM vector_collections RETURNING vector_collections.number LOOP
        EXECUTE format('DROP TABLE vectors_%s', number);
    END LOOP;
    DELETE FROM vector_fences;
END $$;
"""


async def set_up(schema: Schema) -> None:
    store = open_vector(schema.url)
    await store.setup()
    await store.close()


def empty(schema: Schema) -> None:
    """Remove all collections and fences."""
    schema.script(_EMPTY)


def number_of(schema: Schema, collection: str) -> int | None:
    """By which number the tables and indexes of *collection* are called; None when it does not exist."""
    found = schema.rows("SELECT number FROM vector_collections WHERE name = $1", collection)
    return found[0][0] if found else None


def rows_of(schema: Schema, collection: str) -> dict[str, Row]:
    """The vectors of *collection* by key."""
    number = number_of(schema, collection)
    if number is None:
        return {}
    rows = schema.rows(
        f"SELECT key, vector::real[], text, metadata::text, version FROM vectors_{number} WHERE vector IS NOT NULL"
    )
    return {
        key: Row(vector, text, orjson.loads(metadata or "{}"), version) for key, vector, text, metadata, version in rows
    }


def indexes_of(schema: Schema, collection: str) -> set[str]:
    """What *collection* has indexes of that answer, made by upkeep."""
    prefix = f"vectors_{number_of(schema, collection)}_"
    rows = schema.rows(
        """SELECT i.relname FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
        WHERE i.relnamespace = $1::regnamespace AND starts_with(i.relname, $2) AND x.indisvalid""",
        schema.name,
        prefix,
    )
    return {name.removeprefix(prefix) for (name,) in rows} - {"pkey", "tombstones"}
