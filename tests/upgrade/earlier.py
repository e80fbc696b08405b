"""Databases as earlier releases made them, and what lies in them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from penstock.query import Reader
from penstock.stores.contract import SqlStore
from penstock.wire.ids import NO_STAMP, id_from_key
from penstock.wire.records import Message, Task
from tests.conformance.postgres_server import Schema

FOLDER = Path(__file__).parent

OLD = Message(id_from_key("m0"), 1_750_000_000_000_000, "s", "user", "from long ago 👩‍🚀", b'{"a":1}')
"""In every dump."""


def dumps(backend: str) -> list[Path]:
    """The dumps of a backend, oldest first."""
    return sorted(FOLDER.glob(f"{backend}_*.sql"))


def load_sqlite(dump: Path, path: Path) -> str:
    """The URL of a new file with the contents of *dump*."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text("utf-8"))
    return f"sqlite:///{path}"


def load_postgres(dump: Path, schema: Schema) -> str:
    """The URL of *schema*, with the contents of *dump*."""
    schema.script(dump.read_text("utf-8"))
    return schema.url


async def check_search(store: SqlStore) -> None:
    """What every dump has of messages is found by its words, and so is what comes behind it."""
    new = OLD._replace(id=id_from_key("found"), created_at_us=OLD.created_at_us + 5, content="not so long ago")
    await store.write([new])
    while await store.refresh_search(10):
        pass
    async with Reader.open(sql=store) as reader:
        found = await reader.search_messages('"long ago"')

    assert [each.snippet for each in found] == ["not so long ago", OLD.content]


async def check_state(store: SqlStore) -> None:
    """What every dump from version 2 on has of state is read, and what was deleted there stays so."""
    late = Task(id_from_key("late"), OLD.created_at_us, NO_STAMP, "t1", "pending")
    of_gone = OLD._replace(id=id_from_key("of gone"), session_id="gone")
    await store.write([late, of_gone])
    async with Reader.open(sql=store) as reader:
        task, state, context = await reader.task("t0"), await reader.agent_state("a0"), await reader.context("x0")

        assert task is not None
        assert (task.status, task.data) == ("running", {"n": 1})
        assert state is not None
        assert (state.state, state.role) == ("busy", "guide")
        assert context is not None
        assert context.data == {"k": "v"}
        assert await reader.value("k0") == [1, 2]
        assert await reader.task("t1") is None
        assert await reader.session("gone") is None
