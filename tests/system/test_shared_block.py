"""What `async with` opens and closes, where it cannot be opened and where several tasks are inside."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.direct import StoreNotOpen, open_key_values, open_store
from penstock.direct.block import SharedBlock
from penstock.stores.errors import StoreRejected, StoreUnavailable

SOON = 5.0
OPENED_BY: list[Callable[[str], SharedBlock]] = [open_key_values, open_store]


@pytest.mark.parametrize("open_at", OPENED_BY)
async def test_what_cannot_be_opened_is_let_go_of(open_at: Callable[[str], SharedBlock], tmp_path: Path) -> None:
    path = tmp_path / f"{open_at.__name__}.db"
    async with open_at(f"sqlite:///{path}"):
        pass
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO schema_migrations VALUES (99, 'of a newer release', '', 0)")

    block = open_at(f"sqlite:///{path}")
    with pytest.raises(StoreRejected, match="version 99"):
        async with block:
            pytest.fail("a schema that is newer was opened")

    with pytest.raises(StoreNotOpen, match="closed"):
        await block.open()
    for thread in threading.enumerate():
        if thread.name == f"penstock-sqlite-{path.name}":
            thread.join(SOON)
            assert not thread.is_alive()


@pytest.mark.parametrize("open_at", OPENED_BY)
async def test_who_never_got_in_closes_nothing_for_those_who_still_try(
    open_at: Callable[[str], SharedBlock], tmp_path: Path
) -> None:
    block = open_at(f"sqlite:///{tmp_path}/values.db")

    async def enter() -> None:
        async with block:
            pass

    broken_off, other = asyncio.create_task(enter()), asyncio.create_task(enter())
    await asyncio.sleep(0)
    broken_off.cancel()

    await other
    with pytest.raises(asyncio.CancelledError):
        await broken_off


async def test_what_was_given_stays_open(tmp_path: Path) -> None:
    async with open_key_values(f"sqlite:///{tmp_path}/values.db") as values:
        store = values._store
        async with open_key_values(store) as others:
            await others.set("k", 1)

        assert await values.get("k") == 1
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.check()
