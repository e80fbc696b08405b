"""SQLite's file is locked, has no room, may not be written, lies elsewhere or is another one, while records flow."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from penstock.testing.faults import sqlite_locked
from penstock.testing.system import System
from tests.faults.disks import WITHOUT_PRIVILEGE, SmallDisk, closed_to_writers
from tests.faults.striking import SQL_LANES, start_worker, under_load
from tests.faults.watching import ended


async def test_a_file_locked_by_a_stranger_holds_up_its_lanes_alone(system: System) -> None:
    system.settings["PENSTOCK_SQL_URL"] = f"sqlite:///{system.database}?busy_timeout_ms=200"
    for _ in range(2):
        system.start_worker()
    await system.workers_alive(2)
    async with under_load(system) as load:
        with sqlite_locked(system.sql_url, "EXCLUSIVE"):
            await load.waits(*SQL_LANES, seconds=3)
            await load.flows("embeddings")


async def test_a_full_disk_loses_nothing_and_goes_on_where_there_is_room_again(system: System) -> None:
    disk = SmallDisk(system.folder / "disk", 100 * 1024 * 1024)
    system.settings["PENSTOCK_SQL_URL"] = f"sqlite:///{system.folder}/disk/penstock.db"
    worker = start_worker(system, disk.command)
    await system.workers_alive(1)
    async with under_load(system, lambda: disk.bring_out(worker.pid)) as load:
        with disk.full(worker.pid):
            await load.waits(*SQL_LANES)
            await load.flows("embeddings")


async def test_a_folder_that_may_not_be_written_is_waited_for(system: System) -> None:
    """A worker that has the file open does not notice; the next one does."""
    system.settings["PENSTOCK_SQL_URL"] = f"sqlite:///{system.folder}/sql/penstock.db"
    first = start_worker(system, WITHOUT_PRIVILEGE)
    await system.workers_alive(1)
    async with under_load(system) as load:
        with closed_to_writers(system.folder / "sql"):
            await load.flows(*SQL_LANES)
            first.send_signal(signal.SIGTERM)
            assert await ended(first) == 0
            start_worker(system, WITHOUT_PRIVILEGE)
            await load.flows("embeddings")
            await load.waits(*SQL_LANES)


async def test_a_file_that_was_moved_away_is_waited_for_and_lacks_nothing_when_it_is_back(system: System) -> None:
    for _ in range(2):
        system.start_worker()
    await system.workers_alive(2)
    away = system.folder / "away.db"
    async with under_load(system) as load:
        system.database.rename(away)
        await load.waits(*SQL_LANES)
        await load.flows("embeddings")
        away.rename(system.database)
    assert "is not there; bring it back" in log_of(system)


async def test_a_file_replaced_by_an_older_one_takes_all_that_follows_and_the_old_one_keeps_the_rest(
    system: System,
) -> None:
    """What a person does who restores a backup and forgets the workers."""
    for _ in range(2):
        system.start_worker()
    await system.workers_alive(2)
    away, backup = system.folder / "away.db", system.folder / "backup.db"

    def bring_back() -> None:
        command = [sys.executable, "-m", "penstock.cli", "copy", "--from", f"sqlite:///{away}", "--to", system.sql_url]
        # 1 says that the target is not like the source. It has more, and the verdict judges it.
        assert subprocess.run(command, check=False, capture_output=True).returncode in (0, 1)

    async with under_load(system, bring_back) as load:
        await asyncio.to_thread(back_up, system.database, backup)
        await load.flows(*SQL_LANES)
        system.database.rename(away)
        backup.rename(system.database)
        await load.flows(*SQL_LANES)
    with closing(sqlite3.connect(away)) as old:
        assert old.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def back_up(database: Path, to: Path) -> None:
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def log_of(system: System) -> str:
    return "".join(path.read_text() for path in system.folder.glob("worker-*.log"))
