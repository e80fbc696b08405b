"""One of several processes that write the same records: `python -m tests.conformance.parallel_writer URL WRITER`.

Each writes 50,000, of which the next one writes 20,000 too, in an order of its own.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.stores.registry import sql_store
from penstock.testing.conformance.records import message
from penstock.testing.conformance.state_records import key_value
from penstock.wire.records import KeyValue, Message, Record

RECORDS = 50_000
_STEP = 30_000
_BATCH = 1_000
_ROOT = Path(__file__).parents[2]


def records_of(writer: int) -> Iterator[Record]:
    """What *writer* writes: nine messages, then a value, and so on."""
    for number in range(writer * _STEP, writer * _STEP + RECORDS):
        if number % 10:
            yield message(number, f"s{number % 97}")
        else:
            yield key_value(number, f"k{number % 70}")


def written_by(writers: int) -> tuple[list[Message], dict[str, bytes]]:
    """What must be stored in the end: every message once, and the newest stamp of every key."""
    records = {record.id: record for writer in range(writers) for record in records_of(writer)}
    newest: dict[str, bytes] = {}
    for record in records.values():
        if isinstance(record, KeyValue):
            newest[record.key] = max(record.stamp, newest.get(record.key, b""))
    return [record for record in records.values() if isinstance(record, Message)], newest


async def run_writers(url: str, writers: int) -> None:
    """Run that many processes beside each other. Each must end without an error."""
    command = [sys.executable, "-m", "tests.conformance.parallel_writer", url]
    processes = [await asyncio.create_subprocess_exec(*command, str(each), cwd=_ROOT) for each in range(writers)]
    assert [await process.wait() for process in processes] == [0] * writers


async def _write(url: str, writer: int) -> None:
    store = sql_store(url)
    await store.setup()
    records = list(records_of(writer))
    starts = list(range(0, RECORDS, _BATCH))
    random.Random(writer).shuffle(starts)
    for start in starts:
        batch = records[start : start + _BATCH]
        random.Random(start).shuffle(batch)
        await store.write(batch)
    await store.close()


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], int(sys.argv[2])))
