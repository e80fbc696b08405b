"""From one worker process to four, on the same machine."""

from __future__ import annotations

from benchmarks.growth.databases import DATABASES, Database
from benchmarks.growth.findings import Axis, Extent, Findings
from benchmarks.growth.rig import message, rig

RECORDS = 200_000
WORKERS = (1, 2, 4)


def _measure(extent: Extent, found: Findings) -> None:
    """Drain a backlog with so many workers into each store."""
    found.head = (
        "store",
        "workers",
        "drained, records/s",
        "against one",
        "workers, CPU us",
        "database, CPU us",
        "queue, CPU us",
    )
    for open_database in DATABASES:
        with open_database() as database:
            _into(extent, found, database)


def _into(extent: Extent, found: Findings, database: Database) -> None:
    of_one = 0.0
    for workers in WORKERS:
        with database.fresh() as url, rig(database, url, workers) as made:
            drained = made.passes(message, extent.of(RECORDS), extent.runs).drained
        of_one = of_one or drained.rate
        found.row(
            database.name,
            workers,
            f"{drained.rate:,.0f}",
            f"{drained.rate / of_one:.2f}",
            f"{drained.worker_us:.1f}",
            f"{drained.store_us:.1f}" if drained.store_us else "-",
            f"{drained.queue_us:.2f}",
        )
        found.point("records/s", database.name, workers, drained.rate)
        found.point(
            "CPU of a record, workers and database, us", database.name, workers, drained.worker_us + drained.store_us
        )
        found.point("CPU of a record, queue server, us", database.name, workers, drained.queue_us)


AXIS = Axis(
    title="One, two and four worker processes",
    grows="worker processes",
    note="All of them share the cores with the queue server and the database.",
    measure=_measure,
)
