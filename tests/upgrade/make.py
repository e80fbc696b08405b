"""Makes the dumps of the newest schema, as the last thing before a release: `python -m tests.upgrade.make`.

A dump that is there is what that release wrote, and is never written again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from penstock.stores.contract import Fence, SqlStore
from penstock.stores.postgres import open_sql as open_postgres
from penstock.stores.postgres.schema import MIGRATIONS as POSTGRES
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite import open_sql as open_sqlite
from penstock.stores.sqlite.schema import MIGRATIONS as SQLITE
from penstock.wire.ids import id_from_key
from penstock.wire.records import (
    AgentState,
    Context,
    KeyValue,
    LogEvent,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
)
from tests.conformance.postgres_server import Postgres, Schema
from tests.upgrade.earlier import FOLDER, OLD

AT = OLD.created_at_us


def records() -> Iterator[Record]:
    """One of each kind that a SQL store keeps, a deleted task and a deleted session."""
    stamps = [number.to_bytes(8, "big") + b"producer" for number in range(1, 6)]
    yield OLD
    yield LogEvent(id_from_key("l0"), AT + 1, 20, "started")
    yield StreamChunk(id_from_key("run"), AT + 2, "s", "user", id_from_key("c0"), 0, 1, "tok")
    yield Task(id_from_key("t0"), AT + 3, stamps[0], "t0", "running", "a0", data=b'{"n":1}')
    yield AgentState(id_from_key("a0"), AT + 4, stamps[1], "a0", "busy", role="guide")
    yield Context(id_from_key("x0"), AT + 5, stamps[2], "x0", b'{"k":"v"}', "a0")
    yield KeyValue(id_from_key("k0"), AT + 6, stamps[3], "default", "k0", b"[1,2]")
    yield Task(id_from_key("t1"), AT + 7, stamps[4], "t1", "deleted", deleted_at_us=AT + 7)
    yield MessageDeletion(id_from_key("d0"), AT + 8, "gone")


async def fill(store: SqlStore) -> None:
    await store.setup()
    await store.write(list(records()), Fence("default/messages:0", 3))
    await store.close()


def sqlite_dump(folder: Path) -> str:
    path = folder / "new.db"
    asyncio.run(fill(open_sqlite(f"sqlite:///{path}")))
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def postgres_dump(folder: Path) -> str:
    """The migrations as they are, and the rows that a store has written."""
    server = Postgres(folder / "postgres")
    try:
        with server.schema() as schema:
            asyncio.run(fill(open_postgres(schema.url)))
            found = schema.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
            rows = [line for (table,) in found for line in inserts(schema, table)]
    finally:
        server.close()
    made = f"{statements('penstock.stores.postgres')['make_schema_table']};\n"
    return "\n".join([made, *(each.sql for each in POSTGRES), *rows]) + "\n"


def inserts(schema: Schema, table: str) -> Iterator[str]:
    for (row,) in schema.rows(f"SELECT quote_literal(to_json(whole)) FROM {table} AS whole"):
        yield f"INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, {row});"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # a PostgreSQL that runs as another user has to get through
        for backend, known, dump in (("sqlite", SQLITE, sqlite_dump), ("postgres", POSTGRES, postgres_dump)):
            path = FOLDER / f"{backend}_{known[-1].number:04}.sql"
            if not path.exists():
                path.write_text(dump(folder), "utf-8")


if __name__ == "__main__":
    main()
