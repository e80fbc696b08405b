"""What a SQLite file does with its size, its log and its free pages; and that an index leads to all that goes."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

from penstock.stores import BadStoreURL
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite import SqliteStore, open_sql
from penstock.stores.sqlite.settings import parse
from penstock.stores.upkeep import Bounds, Excess
from penstock.testing.conformance.records import START_US, counted, log, message
from penstock.testing.conformance.searching import refreshed
from penstock.testing.conformance.state_records import FAR_US
from penstock.wire.records import Record
from tests.conformance.sqlite_file import execute, indexed_words, rows, session_counts, stored_messages
from tests.conformance.test_sqlite_schema import _is_a_walk_through_a_table

MB = 1024 * 1024
TEXT = "x" * 2_000
SLICE = 100


async def filled(path: Path, options: str, *records: Record) -> SqliteStore:
    store = open_sql(f"sqlite:///{path}?{options}")
    await store.setup()
    await store.write([*big_messages(), *big_logs(), *records])
    return store


def big_messages() -> list[Record]:
    return [message(number, f"s{number % 3}")._replace(content=TEXT) for number in range(1_000)]


def big_logs() -> list[Record]:
    return [log(number, message=TEXT) for number in range(1_000)]


async def removed(store: SqliteStore, kind: Excess, floor_us: int = FAR_US) -> int:
    total = 0
    while gone := await store.remove_excess(kind, floor_us, SLICE):
        total += gone
    return total


def used(path: Path) -> int:
    return int(rows(path, statements("penstock.stores.sqlite")["used_bytes"])[0][0])


async def test_a_file_that_is_too_large_loses_its_oldest_logs_first(path: Path) -> None:
    store = await filled(path, "keep_size_mb=4")

    logs, messages = await removed(store, "logs"), await removed(store, "messages")

    left = rows(path, "SELECT min(created_at), count(*) FROM logs")
    assert 0 < logs < 1_000
    assert messages == 0
    assert left == [(START_US + logs, 1_000 - logs)]
    assert used(path) <= 4 * MB
    await store.close()


async def test_then_its_oldest_messages_and_sessions_count_what_is_left(path: Path) -> None:
    store = await filled(path, "keep_size_mb=2")

    logs, messages = await removed(store, "logs"), await removed(store, "messages")

    assert logs == 1_000
    assert 0 < messages < 1_000
    left = stored_messages(path)
    assert len(left) == 1_000 - messages
    assert session_counts(path) == counted(left)
    assert used(path) <= 2 * MB
    await store.close()


async def test_nothing_younger_than_the_floor_goes(path: Path) -> None:
    store = await filled(path, "keep_size_mb=1")

    gone = [await removed(store, kind, START_US + 10) for kind in get_args(Excess)]

    assert gone == [10, 10]
    assert used(path) > MB
    await store.close()


async def test_words_of_messages_free_their_room_with_them_or_twice_as_many_would_go(path: Path) -> None:
    store = open_sql(f"sqlite:///{path}?keep_size_mb=4")
    await store.setup()
    text = " ".join(f"word{number}" for number in range(250))
    await store.write([message(number)._replace(content=f"{text} {number}") for number in range(2_000)])
    await refreshed(store, 500)

    messages = await removed(store, "messages")
    await refreshed(store)

    assert 0 < messages < 2_000
    assert 3 * MB < used(path) <= 4 * MB
    assert len(indexed_words(path)) == 2_000 - messages
    await store.close()


@pytest.mark.parametrize("size", ["keep_size_mb=0", "keep_size_mb=100"])
async def test_a_file_that_is_small_enough_loses_nothing(path: Path, size: str) -> None:
    store = await filled(path, size)

    assert [await removed(store, kind) for kind in get_args(Excess)] == [0, 0]
    assert [await store.count_excess(kind, {}, FAR_US, FAR_US, SLICE) for kind in get_args(Excess)] == [0, 0]
    await store.close()


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
@pytest.mark.parametrize("logs_before", [0, 300])
async def test_the_rehearsal_tells_exactly_what_goes_and_changes_nothing(
    path: Path, keep: int, logs_before: int
) -> None:
    store = await filled(path, f"keep_size_mb={keep}")
    bounds: Bounds = {"contexts": FAR_US, "logs": START_US + logs_before}

    before = rows(path, "SELECT id FROM messages UNION ALL SELECT id FROM logs")
    foreseen = [await store.count_excess(kind, bounds, FAR_US, FAR_US, SLICE) for kind in get_args(Excess)]
    assert rows(path, "SELECT id FROM messages UNION ALL SELECT id FROM logs") == before

    while await store.remove_due("logs", bounds["logs"], FAR_US, SLICE):
        pass
    assert [await removed(store, kind) for kind in get_args(Excess)] == foreseen
    assert await store.write([message(5_000, "s1")]) == 1
    assert session_counts(path) == counted(stored_messages(path))
    await store.close()


def test_a_size_that_is_kept_is_below_the_size_that_is_full() -> None:
    with pytest.raises(BadStoreURL, match=r"keep_size_mb is 10; it must be below max_size_mb \(10\)"):
        parse("sqlite:///p.db?keep_size_mb=10&max_size_mb=10")


async def test_an_idle_file_takes_in_its_large_log_and_a_busy_one_does_not(path: Path) -> None:
    store = await filled(path, "")
    busy = await store.tidy(FAR_US)
    idle = await store.tidy(FAR_US)

    assert "checkpointed_pages" not in busy
    assert idle["checkpointed_pages"] > 100
    await store.close()


@pytest.mark.parametrize(("file_pages", "log_pages"), [(0, 5_000), (160_000, 10_000), (1_000_000, 20_000)])
def test_the_log_grows_with_its_file_within_bounds(file_pages: int, log_pages: int) -> None:
    assert parse("sqlite:///file.db").log_pages(file_pages) == log_pages
    assert parse("sqlite:///file.db?wal_autocheckpoint=100").log_pages(file_pages) == 100


async def test_only_the_one_that_checkpoints_tidies(path: Path) -> None:
    store = await filled(path, "")
    other = open_sql(f"sqlite:///{path}")
    await other.remove_due("contexts", FAR_US, FAR_US, SLICE)

    assert [await other.tidy(FAR_US) for _ in range(2)] == [{}, {}]
    await other.close()
    await store.close()


async def test_a_file_made_for_it_gives_free_pages_back(path: Path) -> None:
    execute(path, "PRAGMA auto_vacuum = INCREMENTAL", "CREATE TABLE first (x)")
    store = await filled(path, "")
    while await store.remove_due("logs", FAR_US, FAR_US, 500):
        pass

    assert (await store.tidy(FAR_US))["freed_pages"] > 100
    await store.close()


async def test_upkeep_waits_its_turn_and_both_are_done(path: Path) -> None:
    """Slices and batches go through one thread, whoever waits for them."""
    store = await filled(path, "")
    new = [message(5_000 + number, f"s{number % 3}") for number in range(100)]

    gone = asyncio.gather(*(store.remove_due("messages", START_US + 500, FAR_US, 50) for _ in range(10)))
    await asyncio.gather(*(store.write([each]) for each in new))

    assert sum(await gone) == 500
    assert session_counts(path) == counted(stored_messages(path))
    await store.close()


async def test_an_index_leads_to_all_that_goes(store: SqliteStore, path: Path) -> None:
    asked = {name: sql for name, sql in statements("penstock.stores.sqlite").items() if name in _OF_UPKEEP}
    values = {"before_us": 0, "now_us": 0, "limit": 1, "no": 1, "gone": 1}

    with closing(sqlite3.connect(path)) as connection:
        plans = {
            name: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            for name, sql in asked.items()
        }

    assert len(plans) == len(_OF_UPKEEP)
    assert {name: steps for name, steps in plans.items() if any(map(_is_a_walk_through_a_table, steps))} == {}


_OF_UPKEEP = {
    *(f"count_due_{kind}" for kind in ("tombstones", "contexts", "key_values", "tasks", "logs", "messages")),
    *(f"remove_due_{kind}" for kind in ("tombstones", "contexts", "key_values", "tasks", "logs")),
    *(f"remove_deleted_{table}" for table in ("tasks", "agent_states", "contexts", "key_values")),
    "due_messages",
    "age_session",
    "empty_session",
}
