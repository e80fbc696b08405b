"""A store that holds up to ten million rows already."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time

from benchmarks.filling import fill
from benchmarks.growth.databases import DATABASES, Database
from benchmarks.growth.findings import Axis, Extent, Findings
from benchmarks.growth.rig import Drained, rig
from benchmarks.measuring import CONTENT, median, percentile
from penstock.producer import Producer
from penstock.query import Reader

ROWS = (10_000, 100_000, 1_000_000)
MANY_ROWS = 10_000_000
PER_SESSION = 100

BACKLOG = 100_000
SESSIONS = 2_000
PAGES, PAGE = 500, 50

_BYTES = 1_500
"""Of a row, with what a database needs beside it while it is filled. It has about 700 at rest."""


def _measure(extent: Extent, found: Findings) -> None:
    """Fill a database step by step; at each, drain a backlog into it and read pages."""
    found.head = (
        "store",
        "rows before",
        "drained, records/s",
        "against the first",
        "worker, CPU us",
        "database, CPU us",
        f"page of {PAGE}, p50, ms",
        "against the first",
        "p99, ms",
        "the same again, p50, ms",
        "against the first",
    )
    steps = [extent.of(rows) for rows in (*ROWS, MANY_ROWS)[: 4 if extent.full else 3]]
    for open_database in DATABASES:
        with open_database() as database, database.fresh() as url:
            _step_by_step(extent, found, database, url, steps)


def _step_by_step(extent: Extent, found: Findings, database: Database, url: str, steps: list[int]) -> None:
    filled = 0
    first: tuple[float, float, float] | None = None
    for rows in steps:
        _require_room((rows - filled) * _BYTES)
        began = time.monotonic()
        asyncio.run(fill(url, range(filled, rows), PER_SESSION))
        rate = (rows - filled) / (time.monotonic() - began)
        print(f"{database.name}: {rows:,} rows, filled at {rate:,.0f}/s ...", end=" ", file=sys.stderr, flush=True)
        filled = rows
        drained = _drained(extent, database, url, rows // PER_SESSION)
        pages_ms, again_ms = asyncio.run(_pages_ms(url, rows // PER_SESSION))
        page_ms, cached_ms = median(pages_ms), median(again_ms)
        first = first or (drained.rate, page_ms, cached_ms)
        found.row(
            database.name,
            f"{rows:,}",
            f"{drained.rate:,.0f}",
            f"{drained.rate / first[0]:.2f}",
            f"{drained.worker_us:.1f}",
            f"{drained.store_us:.1f}" if drained.store_us else "-",
            f"{page_ms:.2f}",
            f"{page_ms / first[1]:.2f}",
            f"{percentile(pages_ms, 0.99):.2f}",
            f"{cached_ms:.2f}",
            f"{cached_ms / first[2]:.2f}",
        )
        found.point("drained, records/s", database.name, rows, drained.rate)
        found.point(
            "CPU of a record, worker and database, us", database.name, rows, drained.worker_us + drained.store_us
        )
        found.point(f"page of {PAGE}, p50, ms", database.name, rows, page_ms)


def _require_room(needed: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RuntimeError(
            f"{free / 1e9:.0f} GB are free in {folder}, {needed / 1e9:.0f} GB are needed; "
            f"make room, or set TMPDIR to a folder that has it"
        )


def _drained(extent: Extent, database: Database, url: str, sessions: int) -> Drained:
    """A backlog of as many sessions at each step: some of those that are there, and new ones where these are few."""
    apart = max(1, sessions // SESSIONS)

    def call(producer: Producer, number: int) -> object:
        return producer.message(session_id=f"s{number % SESSIONS * apart}", role="user", content=CONTENT)

    with rig(database, url) as made:
        return made.passes(call, extent.of(BACKLOG), extent.runs).drained


async def _pages_ms(url: str, sessions: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each page, the first of a session by chance; then of the same ones again, without the disk.

    The rows of a page lie as far apart as they were written: what is not in memory is a read of the disk for each.
    """
    rng = random.Random(11)
    asked = [f"s{rng.randrange(sessions)}" for _ in range(PAGES)]
    return await _read(url, asked), await _read(url, asked)


async def _read(url: str, sessions: list[str]) -> list[float]:
    found = []
    async with Reader.open(sql=url) as reader:
        for session in sessions:
            began = time.perf_counter()
            page = await reader.messages(session, limit=PAGE)
            found.append((time.perf_counter() - began) * 1000)
            assert len(page.items) == PAGE, f"{session} has {len(page.items)} messages"
    return found


AXIS = Axis(
    title="A store that holds 10 thousand to 10 million rows already",
    grows="rows in the store",
    note=(
        f"{PER_SESSION} messages of {len(CONTENT)} characters a session, put in past the store; the backlog of "
        f"{BACKLOG:,} goes to {SESSIONS:,} sessions. The index of words holds what was drained."
    ),
    measure=_measure,
)
