"""Processes that write the same records to one PostgreSQL database, in any order, at the same time."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

from penstock.stores.postgres import open_sql
from penstock.stores.states import Row
from penstock.testing.conformance.records import START_US, counted, log, message
from penstock.testing.conformance.state_records import (
    SAVES,
    deleted,
    forgotten,
    hidden,
    ordered,
    stamp,
    task,
    task_status,
)
from penstock.wire.records import KeyValue, Message, Record, StateRecord
from tests.conformance.parallel_writer import run_writers, written_by
from tests.conformance.postgres_server import Postgres, Schema

_PROCESSES = 4
_MESSAGES = 6_000
_KEYS, _SAVES = 80, 14
_END = _MESSAGES // 2
"""Of two sessions, all that was created up to here is deleted."""
_FORGOTTEN = ("s3", "s17")
_HIDDEN = range(7, _MESSAGES, 50)


def test_processes_that_redeliver_the_same_records_end_at_what_was_sent(schema: Schema, postgres: Postgres) -> None:
    asyncio.run(_set_up(schema.url))
    batches = _batches()
    assert _PROCESSES * sum(map(len, batches)) >= 50_000
    deadlocks = _deadlocks(postgres)

    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(_PROCESSES)
    with ProcessPoolExecutor(_PROCESSES, context, initializer=_wait_for_all, initargs=(begin,)) as processes:
        list(processes.map(_deliver, [schema.url] * _PROCESSES, range(_PROCESSES), timeout=120))

    left = _messages_left()
    assert sorted(schema.messages()) == sorted(left)
    live = Counter(each.session_id for each in left if each.deleted_at_us is None)
    assert schema.counts() == {each: row._replace(messages=live[each]) for each, row in counted(left).items()}
    # When a row was saved first is the earliest save that took effect, which is another one in each run.
    assert ordered([row._replace(first_at_us=None) for row in schema.states()]) == ordered(_states_left())
    assert len(schema.logs()) == 1_500
    assert _deadlocks(postgres) == deadlocks  # there is one order of locks, and nothing had to be tried again for it


async def test_four_processes_write_50_000_records_each_and_none_meets_a_deadlock(
    schema: Schema, postgres: Postgres
) -> None:
    messages, newest = written_by(4)
    deadlocks = _deadlocks(postgres)

    await run_writers(schema.url, 4)

    assert schema.counts() == counted(messages)
    assert {row.key: row.stamp for row in schema.states() if isinstance(row, KeyValue)} == newest
    assert schema.rows("SELECT count(*) FROM messages") == [(len(messages),)]
    assert _deadlocks(postgres) == deadlocks


def _wait_for_all(begin: Barrier) -> None:
    begin.wait(60)


def _deliver(url: str, seed: int) -> None:
    asyncio.run(_write_all(url, random.Random(seed)))


async def _set_up(url: str) -> None:
    store = open_sql(url)
    await store.setup()
    await store.close()


async def _write_all(url: str, rng: random.Random) -> None:
    """Two batches at a time."""
    store = open_sql(f"{url}&pool_max=2")
    batches = _batches()
    rng.shuffle(batches)
    for batch in batches:
        rng.shuffle(batch)
    waiting = iter(batches)

    async def write() -> None:
        for batch in waiting:
            await store.write(batch)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(write())
    await store.close()


def _batches() -> list[list[Record]]:
    """The same in each process. Deletions lie in some of them only: they keep other writers to a session waiting."""
    records: list[Record] = [*_versions(), *_saves(), *(log(number) for number in range(1_500))]
    random.Random(0).shuffle(records)
    batches = [records[at : at + 250] for at in range(0, len(records), 250)]
    for number, at in enumerate(_HIDDEN):
        batches[number % 8].append(hidden(_MESSAGES + at, at, _session(at)))
    batches[8] += [forgotten(_END, session) for session in _FORGOTTEN]
    return batches


def _session(number: int) -> str:
    return f"s{number % 40}"


def _versions() -> list[Message]:
    """Each fifth message came as a stream, and was stored early twice."""
    return [
        message(number, _session(number), version=version)._replace(content=f"{number} v{version}")
        for number in range(_MESSAGES)
        for version in ((1, 2, 3) if number % 5 == 0 else (0,))
    ]


def _saves() -> list[StateRecord]:
    """Of each key many saves; every fourth key is deleted last, and tasks change their status after the last save."""
    saves = [make(number, f"k{key}") for make in SAVES for key in range(_KEYS) for number in range(1, _SAVES)]
    gone = [deleted(_SAVES, make(1, f"k{key}")) for make in SAVES for key in range(0, _KEYS, 4)]
    changes = [task_status(_SAVES + 1, "failed", f"k{key}") for key in range(1, _KEYS, 4)]
    return [*saves, *gone, *changes]


def _messages_left() -> list[Message]:
    last = {each.id: each for each in _versions()}
    return [
        each._replace(deleted_at_us=START_US + _MESSAGES + number if number in _HIDDEN else None)
        for number, each in enumerate(last.values())
        if each.session_id not in _FORGOTTEN or number > _END
    ]


def _states_left() -> list[Row]:
    """What has the highest stamp."""
    rows: list[Row] = []
    for make in SAVES:
        for key in range(_KEYS):
            last = make(_SAVES - 1, f"k{key}")
            if key % 4 == 0:
                last = deleted(_SAVES, last)
            elif key % 4 == 1 and make is task:
                change = _SAVES + 1
                last = last._replace(status="failed", created_at_us=START_US + change, status_stamp=stamp(change))
            rows.append(last)
    return rows


def _deadlocks(postgres: Postgres) -> int:
    """So far, of all databases."""
    found = postgres.rows("SELECT sum(deadlocks)::bigint FROM pg_stat_database")
    return int(found[0][0])
