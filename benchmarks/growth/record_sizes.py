"""Records of 100 bytes to 100 KB."""

from __future__ import annotations

from benchmarks.growth.databases import sqlite
from benchmarks.growth.findings import Axis, Extent, Findings
from benchmarks.growth.rig import rig
from benchmarks.measuring import CONTENT
from penstock.producer import Producer

RECORDS = {100: 150_000, 1_000: 100_000, 10_000: 20_000, 100_000: 2_000}
SESSIONS = 200


def _measure(extent: Extent, found: Findings) -> None:
    """Fill and drain a backlog of each size."""
    found.head = (
        "text, bytes",
        "into the queue, records/s",
        "MB/s",
        "producer, CPU us",
        "queue, CPU us",
        "drained, records/s",
        "MB/s",
        "worker, CPU us",
        "queue, CPU us",
    )
    for size, records in RECORDS.items():
        _of_size(extent, found, size, extent.of(records))


def _of_size(extent: Extent, found: Findings, size: int, records: int) -> None:
    text = (CONTENT * (size // len(CONTENT) + 1))[:size]

    def call(producer: Producer, number: int) -> object:
        return producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=text)

    with sqlite() as database, database.fresh() as url, rig(database, url) as made:
        sent, drained = made.passes(call, records, extent.runs)
    found.row(
        f"{size:,}",
        f"{sent.rate:,.0f}",
        f"{sent.rate * size / 1e6:,.0f}",
        f"{sent.producer_us:.1f}",
        f"{sent.queue_us:.1f}",
        f"{drained.rate:,.0f}",
        f"{drained.rate * size / 1e6:,.0f}",
        f"{drained.worker_us:.1f}",
        f"{drained.queue_us:.1f}",
    )
    for what, rate in (("into the queue", sent.rate), ("into SQLite", drained.rate)):
        found.point("records/s", what, size, rate)
    for what, rate in (("into the queue", sent.rate), ("into SQLite", drained.rate)):
        found.point("MB/s", what, size, rate * size / 1e6)
    found.point("CPU of a record, us", "producer", size, sent.producer_us)
    found.point("CPU of a record, us", "worker", size, drained.worker_us)
    found.point("CPU of a record, us", "queue server, both ways", size, sent.queue_us + drained.queue_us)


AXIS = Axis(
    title="Records of 100 bytes to 100 KB, into the queue and out of it into SQLite",
    grows="bytes of a record's text",
    note="By one producer and one worker. CPU is of a core, for each record.",
    measure=_measure,
)
