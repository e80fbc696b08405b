"""Into SQLite: what one worker moves, beside the bare driver, in one run.

python -m benchmarks.drain_sqlite [--records 200000] [--runs 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.draining import (
    BATCH,
    LOG_EVENTS,
    MESSAGES,
    MESSAGES_WITH_METADATA,
    METADATA_JSON,
    RECORDS,
    SESSIONS,
    Load,
    Moved,
    backlog,
    end_to_end,
    middle,
    own,
)
from benchmarks.measuring import CONTENT, Watch, settle_disk, table
from penstock.stores.registry import sql_store
from penstock.wire.ids import new_id

ROWS_A_STATEMENT = 400


class Bare(NamedTuple):
    """The rows that a load becomes, as the driver alone would insert them."""

    head: str
    values: str
    row: Callable[[int], tuple[Any, ...]]
    """The one with that number."""


_TAIL = "ON CONFLICT (id) DO NOTHING"
_NOW_US = time.time_ns() // 1000

_BARE = {
    MESSAGES: Bare(
        "INSERT INTO messages (id, created_at, session_no, role, content, version, normalised) VALUES",
        "(?, ?, ?, ?, ?, 0, 0)",
        lambda n: (new_id(), _NOW_US + n, n % SESSIONS, "user", own(CONTENT)),
    ),
    MESSAGES_WITH_METADATA: Bare(
        "INSERT INTO messages (id, created_at, session_no, role, content, metadata, version, normalised) VALUES",
        "(?, ?, ?, ?, ?, ?, 0, 0)",
        lambda n: (new_id(), _NOW_US + n, n % SESSIONS, "user", own(CONTENT), own(METADATA_JSON)),
    ),
    LOG_EVENTS: Bare(
        "INSERT INTO logs (id, created_at, level, event, message, agent_id, normalised) VALUES",
        "(?, ?, 20, 'tool_called', ?, ?, 0)",
        lambda n: (new_id(), _NOW_US + n, own(CONTENT), f"agent-{n % SESSIONS}"),
    ),
}


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=RECORDS)
    arguments.add_argument("--runs", type=int, default=5)
    given = arguments.parse_args()
    records = max(BATCH, given.records - given.records % BATCH)
    print(
        f"{records:,} records with {len(CONTENT)} characters of text, {SESSIONS} sessions or agents, medians of "
        f"{given.runs} runs, the disk at rest before each; synchronous=FULL everywhere, AOF everysec\n"
    )
    for load in _BARE:
        compare(load, records, given.runs)


def compare(load: Load, records: int, runs: int) -> None:
    """Print the table of one load."""
    ways: dict[str, Callable[[], Moved]] = {
        f"bare `executemany`, {BATCH:,} a transaction": partial(bare, load, records),
        f"bare, {ROWS_A_STATEMENT} rows a statement, {BATCH:,} a transaction": partial(bare, load, records, many=True),
        "a backlog, drained by one worker": partial(backlog, load, records),
    }
    if load is MESSAGES:
        ways["from the call to stored, one producer, one worker"] = partial(end_to_end, load, records)
    found: dict[str, list[Moved]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, move in ways.items():
            found[way].append(move())
    medians = {way: middle(moved) for way, moved in found.items()}
    limit = max(moved.rate for way, moved in medians.items() if way.startswith("bare"))
    table(
        (
            f"{load.name} into SQLite",
            "records/s",
            "against the faster bare",
            "us of CPU a record: writer",
            "queue",
            "producer",
        ),
        [
            (
                way,
                f"{moved.rate:,.0f}",
                f"{moved.rate / limit:.2f}",
                *(f"{spent:.2f}" if spent else "" for spent in (moved.worker_us, moved.server_us, moved.producer_us)),
            )
            for way, moved in medians.items()
        ],
    )


def bare(load: Load, records: int, *, many: bool = False) -> Moved:
    """The same rows by the driver alone: ready in memory, in transactions of the worker's batch size.

    With *many* rows a statement, which have to be laid end to end first.
    """
    head, values, row = _BARE[load]
    rows = [row(number) for number in range(records)]
    insert = insert_many if many else sqlite3.Connection.executemany
    size = ROWS_A_STATEMENT if many else 1
    statement = f"{head} {', '.join([values] * size)} {_TAIL}"
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "bare.db"
        asyncio.run(make_schema(database))
        settle_disk()
        with contextlib.closing(connect(database)) as connection:
            watch = Watch()
            for at in range(0, records, BATCH):
                connection.execute("BEGIN IMMEDIATE")
                insert(connection, statement, rows[at : at + BATCH])
                connection.execute("COMMIT")
            spent = watch.spent()
    return Moved(spent.rate(records), spent.cpu_us(records), 0)


def insert_many(connection: sqlite3.Connection, statement: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert *rows*, `ROWS_A_STATEMENT` of them at once."""
    for at in range(0, len(rows), ROWS_A_STATEMENT):
        connection.execute(statement, list(chain.from_iterable(rows[at : at + ROWS_A_STATEMENT])))


async def make_schema(database: Path) -> None:
    """The store's own tables and indexes, in pages of the same size."""
    store = sql_store(f"sqlite:///{database}")
    await store.setup()
    await store.close()


def connect(database: Path) -> sqlite3.Connection:
    """A connection with the settings that the store uses."""
    connection = sqlite3.connect(database, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536", "wal_autocheckpoint=5000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


if __name__ == "__main__":
    main()
