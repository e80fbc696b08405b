"""From one session to 100,000."""

from __future__ import annotations

from benchmarks.growth.databases import DATABASES, Database
from benchmarks.growth.findings import Axis, Extent, Findings
from benchmarks.growth.rig import rig
from benchmarks.measuring import CONTENT
from penstock.producer import Producer

RECORDS = 100_000
SESSIONS = (1, 10, 100, 1_000, 10_000, 100_000)


def _measure(extent: Extent, found: Findings) -> None:
    """Drain a backlog of so many sessions into each store."""
    found.head = ("store", "sessions", "drained, records/s", "worker, CPU us", "database, CPU us", "queue, CPU us")
    for open_database in DATABASES:
        with open_database() as database:
            for sessions in SESSIONS:
                _of_sessions(extent, found, database, sessions)


def _of_sessions(extent: Extent, found: Findings, database: Database, sessions: int) -> None:
    records = extent.of(RECORDS)

    def call(producer: Producer, number: int) -> object:
        backlog, place = divmod(number, records)
        return producer.message(session_id=f"session-{backlog}-{place % sessions}", role="user", content=CONTENT)

    with database.fresh() as url, rig(database, url) as made:
        drained = made.passes(call, records, extent.runs).drained
    found.row(
        database.name,
        f"{sessions:,}",
        f"{drained.rate:,.0f}",
        f"{drained.worker_us:.1f}",
        f"{drained.store_us:.1f}" if drained.store_us else "-",
        f"{drained.queue_us:.2f}",
    )
    found.point("records/s", database.name, sessions, drained.rate)
    found.point(
        "CPU of a record, worker and database, us", database.name, sessions, drained.worker_us + drained.store_us
    )


AXIS = Axis(
    title="From one session to 100,000",
    grows="sessions",
    note="Sessions are new with each backlog. One session is one partition, which one drain writes alone.",
    measure=_measure,
)
