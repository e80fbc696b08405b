"""A record that kills whoever writes it: after two deaths the batch goes to a child process, and only it is blamed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from penstock.stores.contract import Fence
from penstock.stores.errors import StaleOwner, StoreRejected, StoreUnavailable
from penstock.stores.registry import sql_store
from penstock.wire.queue import Queue
from penstock.wire.records import Record
from penstock.worker import sandbox
from penstock.worker.drain import drain
from penstock.worker.sandbox import Sandbox
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total

KILLED_BY_ONE_RECORD = """
import os, sys, msgpack
from penstock.wire.frames import decode_frame
records = decode_frame(msgpack.unpackb(sys.stdin.buffer.read())[3])
if any(record.content == "killer" for record in records):
    os.kill(os.getpid(), 9)
sys.stdout.buffer.write(msgpack.packb(["stored", len(records)]))
"""


async def test_only_the_record_that_kills_is_buried(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender(queue)
    await sender.push(*(sender.message("killer" if n == 5 else str(n)) for n in range(8)))
    for _ in range(3):
        await queue.acquire(MESSAGES, 5)
        await _lease_expires(queue)
    monkeypatch.setattr(sandbox, "CHILD", (sys.executable, "-c", KILLED_BY_ONE_RECORD))
    store = ListStore()
    site = site_of(queue, store, sql_url="sqlite:///unused.db", lease_ms=5_000)

    moved = await drain(site, MESSAGES)

    assert moved is not None
    assert (moved.stored, moved.dead) == (7, 1)
    assert store.writes == [], "the suspect batch is not written in this process"
    (letter,) = await queue.client.xrange(queue.keys.dead(MESSAGES))
    assert b"died (signal 9)" in letter[1][b"e"]
    assert (await total(queue)).balanced


class _FragileStore(ListStore):
    """What it prepares ahead may kill whoever does so."""

    async def prepare(self, records: list[Record]) -> list[Record]:
        raise AssertionError(records)


async def test_nothing_suspect_is_prepared_outside_of_the_child(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    await Sender(queue).push(Sender(queue).message("killer"))
    for _ in range(3):
        await queue.acquire(MESSAGES, 5)
        await _lease_expires(queue)
    monkeypatch.setattr(sandbox, "CHILD", (sys.executable, "-c", KILLED_BY_ONE_RECORD))

    moved = await drain(site_of(queue, _FragileStore(), sql_url="sqlite:///unused.db", lease_ms=5_000), MESSAGES)

    assert moved is not None
    assert (moved.stored, moved.dead) == (0, 1)


async def test_the_child_writes_to_the_real_store_and_repeats_harmlessly(tmp_path: Path, queue: Queue) -> None:
    url = f"sqlite:///{tmp_path}/penstock.db"
    child, sender = Sandbox("sql", url), Sender(queue)
    messages = [sender.message(str(n)) for n in range(3)]

    assert await child.write(messages, Fence("p", 1)) == 3
    assert await child.write(messages, Fence("p", 1)) == 0
    with pytest.raises(StaleOwner) as caught:
        await child.write(messages, Fence("p", 0))
    assert caught.value.seen == 1
    store = sql_store(url)
    await store.setup()
    assert await store.write(messages) == 0
    await store.close()


async def test_the_child_writes_while_the_worker_has_the_store_open(
    tmp_path: Path, queue: Queue, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the child's libraries say, such as the warning of a second writer, must not get into its answer."""
    url = f"sqlite:///{tmp_path}/penstock.db"
    store = sql_store(url)
    await store.setup()
    try:
        assert await Sandbox("sql", url).write([Sender(queue).message()]) == 1
    finally:
        await store.close()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("outside", ["SIGTERM", "SIGINT", "SIGHUP"])
async def test_a_child_that_was_ended_from_outside_blames_nobody(queue: Queue, outside: str) -> None:
    ended = (sys.executable, "-c", f"import os, signal; os.kill(os.getpid(), signal.{outside})")

    with pytest.raises(StoreUnavailable):
        await Sandbox("sql", "sqlite:///unused.db", ended).write([Sender(queue).message()])


async def test_the_childs_refusals_are_the_stores_own(tmp_path: Path, queue: Queue) -> None:
    vectors_only = Sandbox("vector", f"lancedb:///{tmp_path}/vectors")
    nowhere = Sandbox("sql", "sqlite:////proc/nowhere/penstock.db")
    message = Sender(queue).message()

    with pytest.raises(StoreRejected):
        await vectors_only.write([message])
    with pytest.raises(StoreUnavailable):
        await nowhere.write([message])


async def _lease_expires(queue: Queue) -> None:
    async with asyncio.timeout(5):
        while await queue.client.exists(queue.keys.lease(MESSAGES)):
            await asyncio.sleep(0.002)
