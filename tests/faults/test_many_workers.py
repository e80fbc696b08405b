"""Several worker processes on one database: nothing twice, nothing missing, in order, and no error of the database."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from penstock.testing.system import System
from tests.conformance.postgres_server import Schema
from tests.conformance.sqlite_file import rows

Look: TypeAlias = Callable[[str], list[tuple[Any, ...]]]
"""The rows of a statement."""

RECORDS = 50_000
SESSIONS = 200
KEYS = 50


async def send(system: System) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Hand over messages of many sessions, and values of few keys: what each must end at."""
    sessions: defaultdict[str, list[str]] = defaultdict(list)
    values: dict[str, int] = {}
    async with system.producer() as producer:
        for number in range(RECORDS):
            if number % 10:
                session = f"session-{number % SESSIONS}"
                producer.message(session_id=session, role="user", content=f"message {number}")
                sessions[session].append(f"message {number}")
            else:
                key = f"key-{number // 10 % KEYS}"
                producer.key_value(key=key, value=number)
                values[key] = number
            if number % 1_000 == 0:
                await asyncio.sleep(0)
        await producer.flush(until="stored", timeout=90)
    return dict(sessions), values


async def works(system: System, workers: int, look: Look, messages: str) -> None:
    """Have *workers* processes store all that `send` hands over, and *look* past the library at what is there."""
    for _ in range(workers):
        system.start_worker()
    await system.workers_alive(workers)

    sessions, values = await send(system)

    found: defaultdict[str, list[str]] = defaultdict(list)
    for session, content in look(messages):
        found[session].append(content)
    assert found == sessions
    assert dict(look("SELECT id, message_count FROM sessions")) == {each: len(sessions[each]) for each in sessions}
    assert {key: int(value) for key, value in look("SELECT key, CAST(value AS TEXT) FROM key_values")} == values
    counts = await system.counts()
    assert (counts.accepted, counts.stored, counts.dead, counts.balanced) == (RECORDS, RECORDS, 0, True)
    logs = b"".join(path.read_bytes() for path in system.folder.glob("worker-*.log")).lower()
    assert [word for word in (b"locked", b"deadlock", b"lane waits", b"traceback") if word in logs] == []


async def test_four_workers_share_one_postgresql(schema: Schema, system: System) -> None:
    system.settings["PENSTOCK_SQL_URL"] = schema.url
    in_order = "SELECT session_id, content FROM messages ORDER BY created_at, id"

    await works(system, 4, schema.rows, in_order)


async def test_two_workers_share_one_sqlite_file(system: System) -> None:
    in_order = (
        "SELECT s.id, m.content FROM messages m JOIN sessions s ON s.no = m.session_no ORDER BY m.created_at, m.id"
    )

    await works(system, 2, partial(rows, system.database), in_order)
