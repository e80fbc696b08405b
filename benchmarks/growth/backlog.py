"""A backlog of up to a million records in the queue."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.growth.databases import sqlite
from benchmarks.growth.findings import Axis, Extent, Findings
from benchmarks.growth.rig import Passed, Rig, message, middle, rig
from benchmarks.measuring import CONTENT, median, queue_memory

BACKLOGS = (10_000, 100_000, 1_000_000)
STATUS_TRIES = 5


def _measure(extent: Extent, found: Findings) -> None:
    """Fill a queue, look at it, and drain it into SQLite."""
    found.head = (
        "backlog",
        "into the queue, records/s",
        "queue, CPU us",
        "queue, bytes a record",
        "`penstock status`, ms",
        "drained, records/s",
        "worker, CPU us",
        "queue, CPU us",
    )
    for records in BACKLOGS:
        _of_size(extent, found, extent.of(records))


def _of_size(extent: Extent, found: Findings, records: int) -> None:
    passed, memory, status_ms = [], [], []
    with sqlite() as database, database.fresh() as url, rig(database, url) as made:
        for _ in range(extent.runs):
            made.hold()
            before = queue_memory(made.url)
            sent = made.send(message, records)
            memory.append((queue_memory(made.url) - before) / records)
            status_ms += [_status_ms(made) for _ in range(STATUS_TRIES)]
            passed.append(Passed(sent, made.drain(records)))
    sent, drained = middle(passed)
    found.row(
        f"{records:,}",
        f"{sent.rate:,.0f}",
        f"{sent.queue_us:.2f}",
        f"{median(memory):.0f}",
        f"{median(status_ms):.0f}",
        f"{drained.rate:,.0f}",
        f"{drained.worker_us:.1f}",
        f"{drained.queue_us:.2f}",
    )
    found.point("records/s", "into the queue", records, sent.rate)
    found.point("records/s", "into SQLite", records, drained.rate)
    found.point("CPU of a record, us", "queue server, both ways", records, sent.queue_us + drained.queue_us)
    found.point("CPU of a record, us", "worker", records, drained.worker_us)
    found.point("memory and status", "queue, bytes a record", records, median(memory))
    found.point("memory and status", "penstock status, ms", records, median(status_ms))


def _status_ms(made: Rig) -> float:
    """Of the whole command, of the queue alone."""
    environment = {name: value for name, value in made.environment.items() if name != "PENSTOCK_SQL_URL"}
    command = [sys.executable, "-m", "penstock.cli", "status"]
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


AXIS = Axis(
    title="A backlog of 10 thousand to a million records",
    grows="records in the queue",
    note=(
        f"Messages of {len(CONTENT)} characters by one producer, drained into SQLite by one worker. A small backlog is "
        "over before its drains have got going: the time until they notice counts."
    ),
    measure=_measure,
)
