"""LanceDB's folder may not be written, is away, is full, or a stranger holds a table's lock, while records flow."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from penstock.testing.agent import COLLECTION
from penstock.testing.faults import folder_away
from penstock.testing.system import System
from tests.faults.disks import WITHOUT_PRIVILEGE, SmallDisk, closed_to_writers
from tests.faults.striking import SQL_LANES, start_worker, under_load


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


@contextmanager
def locked_by_a_stranger(path: Path) -> Iterator[None]:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
