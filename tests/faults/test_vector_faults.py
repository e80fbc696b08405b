"""LanceDB's folder may not be written, is away, is full, or a stranger holds a table's lock, while records flow."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from penstock.testing.agent import COLLECTION
from penstock.testing.faults import folder_away
from penstock.testing.stores_seen import vectors_in
from penstock.testing.system import System
from tests.faults.disks import WITHOUT_PRIVILEGE, SmallDisk, closed_to_writers
from tests.faults.striking import SQL_LANES, start_worker, under_load
from tests.faults.watching import LEASE_S


@pytest.mark.parametrize("fault", [closed_to_writers, folder_away])
async def test_a_folder_that_takes_nothing_holds_up_the_vectors_alone(
    system: System, fault: Callable[[Path], AbstractContextManager[None]]
) -> None:
    start_worker(system, WITHOUT_PRIVILEGE)
    await system.workers_alive(1)
    async with under_load(system) as load:
        with fault(system.folder / "vectors"):
            await load.waits("embeddings")
            await load.flows(*SQL_LANES)


async def test_a_full_disk_holds_up_the_vectors_alone(system: System) -> None:
    disk = SmallDisk(system.folder / "disk", 100 * 1024 * 1024)
    system.settings["PENSTOCK_VECTOR_URL"] = f"lancedb:///{system.folder}/disk/vectors"
    worker = start_worker(system, disk.command)
    await system.workers_alive(1)
    async with under_load(system, lambda: disk.bring_out(worker.pid)) as load:
        with disk.full(worker.pid):
            await load.waits("embeddings")
            if disk.is_real:  # otherwise no file of the worker's grows
                await load.flows(*SQL_LANES)


async def test_a_table_locked_by_a_stranger_is_waited_for(system: System) -> None:
    for _ in range(2):
        system.start_worker()
    await system.workers_alive(2)
    async with under_load(system) as load:
        with locked_by_a_stranger(system.folder / "vectors" / f"{COLLECTION}.lock"):
            await load.waits("embeddings")
            await load.flows(*SQL_LANES)


async def test_a_writer_that_sleeps_past_its_lease_in_a_write_loses_nothing_and_doubles_nothing(system: System) -> None:
    """Its successor waits for the table, and what both write then meets: every key once, with its last vector."""
    for _ in range(2):
        system.start_worker()
    await system.workers_alive(2)
    sent: dict[str, int] = {}
    numbers = itertools.count(1)
    async with system.producer() as producer:

        def hand_over(records: int) -> None:
            for _ in range(records):
                number = next(numbers)
                key = f"key-{random.randrange(2_000)}"
                sent[key] = number
                producer.embedding(collection="notes", id=key, vector=[1.0, float(number)] + [0.0] * 382)

        hand_over(500)
        await producer.flush(until="stored", timeout=30)
        for _ in range(2):
            sleeper = await stopped_in_a_write(system, lambda: hand_over(500))
            hand_over(500)
            await asyncio.sleep(LEASE_S + 1)  # the fault itself: so long it sleeps
            os.kill(sleeper, signal.SIGCONT)
            hand_over(500)
            await producer.flush(until="stored", timeout=60)
    counts = await system.counts()
    rows = await vectors_in(system.vector_url)

    assert sorted(each.key for each in rows) == sorted(sent)
    assert {each.key: struct.unpack_from("<ff", each.vector)[1] for each in rows} == sent
    assert (counts.dead, counts.pending, counts.balanced) == (0, 0, True)


async def stopped_in_a_write(system: System, feed: Callable[[], None]) -> int:
    """Stop the worker that holds the table's lock, while it holds it. Returns its process id."""
    inode = (system.folder / "vectors" / "notes.lock").stat().st_ino
    async with asyncio.timeout(60):
        while True:
            feed()
            for _ in range(200):
                await asyncio.sleep(0.002)
                if (writer := holder_of(inode)) is None:
                    continue
                os.kill(writer, signal.SIGSTOP)
                if holder_of(inode) == writer:
                    return writer
                os.kill(writer, signal.SIGCONT)


def holder_of(inode: int) -> int | None:
    """The process that has locked the file with this *inode*."""
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            return int(fields[4])
    return None


@contextmanager
def locked_by_a_stranger(path: Path) -> Iterator[None]:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
