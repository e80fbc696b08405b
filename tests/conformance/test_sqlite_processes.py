"""Several processes on one SQLite file, and writers beside each other."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock.stores.sqlite import SqliteStore, open_sql
from penstock.testing.conformance.records import counted, message
from penstock.wire.records import Record
from tests.conformance.parallel_writer import run_writers, written_by
from tests.conformance.sqlite_file import execute, rows, session_counts, stored_messages


async def test_two_processes_write_one_file_and_count_right(store: SqliteStore, path: Path) -> None:
    code = (
        "import asyncio, sys; from penstock.stores.sqlite import open_sql;"
        "from penstock.testing.conformance.records import message\n"
        "async def main():\n"
        "    store = open_sql('sqlite:///' + sys.argv[1]); await store.setup()\n"
        "    for at in range(0, 300, 10):\n"
        "        await store.write([message(n, f's{n % 7}') for n in range(at, at + 20)])\n"
        "    await store.close()\n"
        "asyncio.run(main())"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL
    )
    patient = open_sql(f"sqlite:///{path}")
    for at in range(400, 0, -10):
        await patient.write([message(n, f"s{n % 7}") for n in range(at - 20, at)])
    await patient.close()

    assert await other.wait() == 0
    assert session_counts(path) == counted([message(n, f"s{n % 7}") for n in range(-10, 400)])


async def test_two_processes_write_50_000_records_each_and_neither_meets_a_lock(path: Path) -> None:
    messages, newest = written_by(2)

    await run_writers(f"sqlite:///{path}", 2)

    assert session_counts(path) == counted(messages)
    assert dict(rows(path, "SELECT key, stamp FROM key_values")) == newest
    assert rows(path, "SELECT count(*) FROM messages") == [(len(messages),)]


async def test_a_reader_in_another_process_sees_what_is_committed(store: SqliteStore, path: Path) -> None:
    await store.write([message(number) for number in range(700)])
    code = (
        "import asyncio, sys; from penstock.query import Reader\n"
        "async def main():\n"
        "    async with Reader.open(sql='sqlite:///' + sys.argv[1]) as reader:\n"
        "        print(len([each async for each in reader.all_messages('s')]), await reader.count_messages('s'))\n"
        "asyncio.run(main())"
    )
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), stdout=subprocess.PIPE)
    while reader.returncode is None:
        await store.write([message(999, "other")])
        await asyncio.wait([asyncio.create_task(reader.wait())], timeout=0.001)
    shown = await reader.communicate()

    assert shown[0].split() == [b"700", b"700"]


async def test_what_a_killed_writer_left_is_read(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """The log is still there and the index of the log is not, as after a power loss."""
    await store.write([message(0)])
    left = tmp_path / "left.db"
    left.write_bytes(path.read_bytes())
    left.with_name("left.db-wal").write_bytes(path.with_name("p.db-wal").read_bytes())
    before = left.read_bytes()
    reader = open_sql(f"sqlite:///{left}")

    found = await reader.message(message(0).id)
    await reader.close()

    assert found is not None
    assert left.read_bytes() == before  # a reader does not checkpoint, not even when it closes last
    assert await _stored_by_a_new_store(left, message(1)) == 1


def test_processes_that_race_to_set_up_all_succeed(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_set_up, args=(str(path),)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert rows(path, "SELECT number, name FROM schema_migrations") == [(1, "initial"), (2, "state"), (3, "search")]


def _set_up(path: str) -> None:
    async def main() -> None:
        store = open_sql(f"sqlite:///{path}")
        await store.setup()
        await store.close()

    asyncio.run(main())


async def test_a_second_writer_is_warned_of_where_sqlite_is_old(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    second = open_sql(f"sqlite:///{path}")
    with capture_logs() as old:
        await second.write([message(0)])
    await second.close()
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    third = open_sql(f"sqlite:///{path}")
    with capture_logs() as new:
        await third.write([message(1)])
    await third.close()

    assert [each["event"] for each in old] == ["sqlite_has_two_writers"]
    assert new == []


async def test_the_second_writer_checkpoints_only_when_the_first_is_gone(path: Path) -> None:
    first, second = (open_sql(f"sqlite:///{path}?wal_autocheckpoint=1") for _ in range(2))
    await first.setup()
    await first.write([message(1)])
    # More than the 1,000 pages after which SQLite would checkpoint by itself.
    await second.write([message(2), message(4)._replace(content="x" * 9_000_000)])
    beside_the_first = path.read_bytes()
    await first.close()
    await second.write([message(3)])

    assert (b"text 1" in beside_the_first, b"text 2" in beside_the_first) == (True, False)
    assert b"text 2" in path.read_bytes()
    await second.close()


async def test_another_process_that_made_the_session_anew_is_noticed(store: SqliteStore, path: Path) -> None:
    """Remembered session numbers are void once another connection has written."""
    await store.write([message(0), message(1, "t")])
    execute(path, "DELETE FROM messages", "DELETE FROM sessions", "UPDATE fences SET epoch = 0")

    await store.write([message(2, "t")])

    assert [(each.session_id, each.content) for each in stored_messages(path)] == [("t", "text 2")]


async def test_closing_the_last_connection_leaves_one_file(path: Path) -> None:
    store = open_sql(f"sqlite:///{path}")
    await store.setup()
    await store.write([message(0)])
    await store.check()
    await store.close()

    assert sorted(each.name for each in path.parent.iterdir()) == ["p.db", "p.db-writer"]


async def _stored_by_a_new_store(path: Path, record: Record) -> int:
    store = open_sql(f"sqlite:///{path}")
    try:
        return await store.write([record])
    finally:
        await store.close()
