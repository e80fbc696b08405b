"""Stores of every SQL backend by their URLs, as `penstock export`, `import`, `copy` and `backup` take them."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from penstock.stores.contract import SqlStore
from penstock.stores.registry import sql_store
from tests.system.command import COMMAND, Ran, penstock

Command = Callable[..., Any]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlStore]:
    """The store at *url*, set up."""
    store = sql_store(url)
    await store.setup()
    try:
        yield store
    finally:
        await store.close()


def runner(capsys: pytest.CaptureFixture[str]) -> Command:
    """`penstock` with some arguments, in this process."""

    async def run(*arguments: object) -> Ran:
        return await penstock(capsys, *map(str, arguments))

    return run


async def started(*arguments: object) -> asyncio.subprocess.Process:
    """`penstock` as a process of its own."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*COMMAND, *map(str, arguments), stdin=pipe, stdout=pipe, stderr=pipe)


WRITER = """
import asyncio, sys
from penstock.stores.registry import sql_store
from penstock.testing.conformance.records import message

async def main():
    store = sql_store(sys.argv[1])
    number = 0
    while True:
        await store.write([message(number + n, f"s{(number + n) % 3}") for n in range(50)])
        number += 50
        print(number, flush=True)

asyncio.run(main())
"""
"""Writes messages without end, those of three sessions in turn, and says how many are stored."""


class Writer:
    """A process that writes to a store while something else is done with it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def stored(self, at_least: int) -> int:
        """Waits until so many are stored; how many it says there are."""
        assert self._process.stdout is not None
        while True:
            number = int(await self._process.stdout.readline())
            if number >= at_least:
                return number


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[Writer]:
    """A `Writer` to the store at *url*, killed in the end."""
    command = (sys.executable, "-c", WRITER, url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, limit=2**24)
    try:
        yield Writer(process)
    finally:
        process.kill()
        await process.communicate()


def assert_prefix(path: Path, at_least: int) -> int:
    """That the file holds the first messages of a `Writer`, none missing, and counts them right. How many."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        texts = {row[0] for row in connection.execute("SELECT content FROM messages")}
        counted = dict(connection.execute("SELECT id, message_count FROM sessions"))
        rows = dict(
            connection.execute("SELECT s.id, count(*) FROM messages JOIN sessions s ON no = session_no GROUP BY s.id")
        )
    assert texts == {f"text {number}" for number in range(len(texts))}
    assert len(texts) % 50 == 0
    assert len(texts) >= at_least
    assert counted == rows
    return len(texts)
