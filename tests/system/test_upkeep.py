"""Upkeep as a user meets it: by workers in their time, and by `penstock upkeep`."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.embedded import EmbeddedQueue
from penstock.stores.registry import vector_store
from penstock.stores.sqlite import SqliteStore, open_sql
from penstock.testing.conformance.records import counted, log, message
from penstock.testing.conformance.state_records import context, deleted, key_value, task
from penstock.testing.conformance.vector_records import deletion, embedding
from penstock.testing.system import System
from penstock.wire.ids import wall_clock_us
from penstock.wire.queue import Queue
from penstock.wire.records import Record
from penstock.worker.fleet import Fleet
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Site, Stores
from penstock.worker.upkeep import SLICE, Caretaker
from tests.conformance.sqlite_file import session_counts, stored_messages
from tests.system.command import COMMAND, process
from tests.system.drain_support import total
from tests.system.letter_support import bury_records

DAY_US = 86_400_000_000


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> System:
    return System(tmp_path, queue_server)


async def test_a_worker_removes_a_context_that_has_expired(system: System) -> None:
    system.settings["PENSTOCK_UPKEEP_EVERY_S"] = "1"
    async with system.producer() as producer:
        gone = datetime.now(UTC) + timedelta(seconds=1)
        producer.context(context_id="gone", data={"a": 1}, expires_at=gone)
        producer.context(context_id="kept", data={"a": 2})
        await producer.flush(until="queued", timeout=10)
    system.start_worker()
    try:
        await system.drained()
        async with asyncio.timeout(30):
            while emptied(system.database) != {"gone": True, "kept": False}:
                await asyncio.sleep(0.05)
    finally:
        system.stop()

    lines = [json.loads(line) for line in (system.folder / "worker-0.log").read_text().splitlines()]
    told = [line for line in lines if line["event"] == "upkeep"]
    assert [line["contexts"] for line in told] == [1]


def emptied(path: Path) -> dict[str, bool]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT id, data IS NULL AND deleted_at IS NOT NULL FROM contexts"))


def caretaker(queue: Queue, store: str, worker_id: str = "w1", **settings: Any) -> Caretaker:
    config = WorkerConfig(namespace=queue.keys.namespace, sql_url=store, vector_url="memory://", **settings)
    return Caretaker(Site(config=config, queue=queue, stores=Stores(config), fleet=Fleet(queue, worker_id)))


async def test_one_worker_of_the_fleet_takes_a_turn_in_each_period(queue: Queue) -> None:
    one, other = (caretaker(queue, "memory://", name) for name in ("w1", "w2"))

    turns = [await each.take_turn() for each in (one, other, one)]

    assert [turn is not None for turn in turns] == [True, False, False]
    assert 0 < await queue.client.pttl(queue.keys.upkeep()) <= 48_000
    await queue.client.delete(queue.keys.upkeep())
    assert await other.take_turn() is not None


async def test_a_store_that_is_away_is_told_and_the_next_turn_goes_on(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    upkeep = caretaker(queue, f"sqlite:///{tmp_path}/folder/p.db")
    assert await upkeep.take_turn() is None

    (tmp_path / "folder").unlink()
    await queue.client.delete(queue.keys.upkeep())

    run = await upkeep.take_turn()
    assert run is not None
    assert run.is_complete
    await upkeep._site.stores.close()


async def test_vectors_are_tended_whether_or_not_the_sql_store_is_there(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    upkeep = caretaker(queue, f"sqlite:///{tmp_path}/folder/p.db")
    vectors = await upkeep._site.stores.vectors()
    await vectors.write([embedding("a"), embedding("b")])
    await vectors.write([deletion("a")])
    await upkeep.take_turn()
    assert await vectors.is_due("docs"), "no embedding was ever handed over"

    await bury_records(queue, [embedding("c")])
    await queue.client.delete(queue.keys.upkeep())
    with capture_logs() as logs:
        assert await upkeep.take_turn() is None

    assert not await vectors.is_due("docs")
    assert [(each["event"], each.get("tombstones")) for each in logs] == [
        ("upkeep waits", None),
        ("upkeep of vectors", 1),
    ]
    await upkeep._site.stores.close()


async def test_the_command_puts_vectors_in_order(old: SqliteStore, tmp_path: Path) -> None:
    url = f"lancedb:///{tmp_path}/vectors"
    vectors = vector_store(url)
    await vectors.setup()
    await vectors.write([embedding("a"), embedding("b")])
    await vectors.write([deletion("a")])
    await vectors.close()
    command = ("upkeep", "--json", "--sql-url", f"sqlite:///{old._settings.path}", "--vector-url", url)

    ran = [await process(*command, *option) for option in (["--dry-run"], [])]

    assert [each.json()["vectors"] for each in ran] == [{"collections": 1}, {"tombstones": 1}]


async def test_a_worker_that_stops_ends_its_turn_after_a_slice(queue: Queue, tmp_path: Path) -> None:
    store = open_sql(f"sqlite:///{tmp_path}/p.db")
    await store.setup()
    await store.write([log(number) for number in range(3 * SLICE)])
    upkeep = caretaker(queue, f"sqlite:///{tmp_path}/p.db", retain_logs_days=1)
    upkeep._site.fleet.stopping.set()

    run = await upkeep.take_turn()

    assert run is not None
    assert (run.is_complete, run.counted()) == (False, {"logs": SLICE})
    await upkeep._site.stores.close()
    await store.close()


# The command


@pytest.fixture
async def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
    """A store with something of each kind that is due, and something that is not; the settings that have it so."""
    for name, days in (("RETAIN_MESSAGES_DAYS", 30), ("RETAIN_LOGS_DAYS", 30), ("RETAIN_TASKS_DAYS", 30)):
        monkeypatch.setenv(f"PENSTOCK_{name}", str(days))
    monkeypatch.setenv("PENSTOCK_VECTOR_URL", "memory://")  # its driver takes seconds to load
    store = open_sql(f"sqlite:///{tmp_path}/old.db")
    await store.setup()
    now_us = wall_clock_us()
    young = message(9_999, "young")._replace(created_at_us=now_us)
    state: list[Record] = [
        context(1, expires_at_us=now_us),
        key_value(1, expires_at_us=now_us),
        task(1, status="completed"),
    ]
    await store.write([*(message(number, f"s{number % 9}") for number in range(2_500)), young])
    await store.write([log(1), log(2), *state, deleted(2, context(0, "other")), key_value(2, "stays")])
    await store.close()
    return store


DUE = {"tombstones": 1, "contexts": 1, "key_values": 1, "tasks": 1, "logs": 2, "messages": 2_500}


async def test_a_dry_run_tells_what_the_run_removes(old: SqliteStore) -> None:
    url = f"sqlite:///{old._settings.path}"

    ran = [await process("upkeep", "--json", "--sql-url", url, *option) for option in (["--dry-run"], [], [])]

    assert [each.code for each in ran] == [0, 0, 0], ran
    assert [each.json()["records"] for each in ran] == [DUE, DUE, dict.fromkeys(DUE, 0)]
    assert session_counts(old._settings.path) == counted(stored_messages(old._settings.path))
    assert [each.session_id for each in stored_messages(old._settings.path)] == ["young"]


async def test_the_table_says_which_and_how_many(old: SqliteStore) -> None:
    ran = await process("upkeep", "--dry-run", "--sql-url", f"sqlite:///{old._settings.path}")

    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "kind which would go" in lines
    assert "messages older than 30 days 2,500" in lines or "messages older than 30 days 2500" in lines
    assert "tasks finished, unchanged for 30 days 1" in lines


async def test_where_there_is_no_store_none_is_made(tmp_path: Path) -> None:
    ran = await process("upkeep", "--sql-url", f"sqlite:///{tmp_path}/none.db")

    assert ran.code == 4
    assert "no such database" in ran.err
    assert list(tmp_path.iterdir()) == []


async def test_killed_in_the_middle_and_run_again_it_ends_where_it_would_have(old: SqliteStore) -> None:
    path = old._settings.path
    url = f"sqlite:///{path}"
    store = open_sql(url)
    for at in range(10_000, 60_000, 10_000):
        await store.write([message(number, f"s{number % 9}") for number in range(at, at + 10_000)])
    whole = await store.count_due("messages", wall_clock_us() - 30 * DAY_US)
    command = await asyncio.create_subprocess_exec(*COMMAND, "upkeep", "--sql-url", url)

    async with asyncio.timeout(30):
        while await store.count_due("messages", wall_clock_us() - 30 * DAY_US) == whole:
            await asyncio.sleep(0)
    command.send_signal(signal.SIGKILL)
    await command.wait()

    left = stored_messages(path)
    assert 0 < len(left) < whole
    assert session_counts(path) == counted(left)
    again = await process("upkeep", "--json", "--sql-url", url)
    assert again.json()["records"]["messages"] == len(left) - 1
    assert list(session_counts(path)) == ["young"]
    await store.close()


async def test_dead_letters_past_their_time_go_though_the_store_is_away(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    await bury_records(queue, [message(0), message(1), log(0)])
    upkeep = caretaker(queue, f"sqlite:///{tmp_path}/folder/p.db", retain_dead_days=2)
    now_ms = upkeep._site.now_ms()

    with capture_logs() as lines:
        for days in (1, 3):
            upkeep._site.now_ms = lambda days=days: now_ms + days * 86_400_000  # type: ignore[misc] # a default binds it
            await queue.client.delete(queue.keys.upkeep())
            assert await upkeep.take_turn() is None

    told = [line for line in lines if line["event"] == "dead letters purged"]
    assert [(line["messages"], line["logs"], line["older_than"]) for line in told] == [(2, 1, "2 days")]
    counts = await total(queue)
    assert (counts.dead, counts.purged, counts.balanced) == (0, 3, True)


async def test_dead_letters_stay_for_ever_unless_told_otherwise(queue: Queue) -> None:
    await bury_records(queue, [message(0)])
    upkeep = caretaker(queue, "memory://")
    upkeep._site.now_ms = lambda: 2**47

    assert await upkeep.take_turn() is not None

    assert (await total(queue)).dead == 1
