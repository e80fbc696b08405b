"""What the child of a sandbox tells, and how it ends after that."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.stores.registry import sql_store
from penstock.wire.queue import Queue
from penstock.worker.sandbox import Sandbox
from tests.system.drain_support import Sender

CRASHES_AT_ITS_END = """
import os
from penstock.worker.sandbox import _main
_main()
os.kill(os.getpid(), 11)
"""

CRASHES_AMID_ITS_ANSWER = """
import os, sys, msgpack
sys.stdout.buffer.write(msgpack.packb(["stored", 1])[:-1])
sys.stdout.flush()
os.kill(os.getpid(), 11)
"""


async def test_a_child_that_crashes_after_its_answer_has_stored(tmp_path: Path, queue: Queue) -> None:
    url, message = f"sqlite:///{tmp_path}/penstock.db", Sender(queue).message()

    assert await Sandbox("sql", url, (sys.executable, "-c", CRASHES_AT_ITS_END)).write([message]) == 1


async def test_a_child_that_crashes_amid_its_answer_is_blamed_on_the_record(queue: Queue) -> None:
    child = Sandbox("sql", "sqlite:///unused.db", (sys.executable, "-c", CRASHES_AMID_ITS_ANSWER))

    with pytest.raises(StoreRejected, match="signal 11"):
        await child.write([Sender(queue).message()])


async def test_a_store_that_a_newer_release_has_migrated_refuses_no_record(tmp_path: Path, queue: Queue) -> None:
    url = f"sqlite:///{tmp_path}/penstock.db"
    store = sql_store(url)
    await store.setup()
    await store.close()
    with closing(sqlite3.connect(tmp_path / "penstock.db")) as database, database:
        database.execute("UPDATE schema_migrations SET number = number + 900")

    with pytest.raises(StoreUnavailable, match="upgrade penstock"):
        await Sandbox("sql", url).write([Sender(queue).message()])
