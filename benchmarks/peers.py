"""Into the queue and through to SQLite, beside the task queues one would use instead, in one run.

python -m benchmarks.peers [--records 100000] [--jobs 500] [--runs 3] [--patience 60]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from typing import NamedTuple, TypeVar

import msgpack

from benchmarks.measuring import CONTENT, median, table
from benchmarks.rivals.arq import Arq
from benchmarks.rivals.contenders import PACKED, SESSIONS, Contender, Jobs, Penstock
from benchmarks.rivals.library import Library
from benchmarks.rivals.saq import Saq
from benchmarks.rivals.streaq import Streaq
from benchmarks.rivals.taskiq import Taskiq
from benchmarks.rivals.trials import Filled, Moved, end_to_end, fill_and_drain, kill
from penstock.wire.ids import new_id, wall_clock_us
from penstock.worker.settings import WorkerConfig

_KILLED_RECORDS = 40_000

LIBRARIES: Mapping[str, Library] = {"arq": Arq(), "SAQ": Saq(), "streaQ": Streaq(), "taskiq": Taskiq()}

PENSTOCK = Penstock()
SINGLY = [Jobs(f"{name}, a job a record", library, 1) for name, library in LIBRARIES.items()]
PACKED_BY_HAND = [
    Jobs(f"{name}, jobs of {PACKED} packed by hand", library, PACKED) for name, library in LIBRARIES.items()
]
ONE_AFTER_THE_OTHER = Jobs("arq, a job a record, each awaited", Arq(width=1), 1)

Figures = TypeVar("Figures", Filled, Moved)


class Found(NamedTuple):
    """What the runs of one contender measured."""

    filled: list[Filled]
    drained: list[Moved]
    moved: list[Moved]


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=100_000, help="of Penstock, and of jobs packed by hand")
    arguments.add_argument("--jobs", type=int, default=500, help="where each record is a job")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--patience", type=float, default=60, help="seconds to wait after a worker was killed")
    given = arguments.parse_args()
    describe(given.records, given.jobs, given.runs)
    found = compare(given.records, given.jobs, given.runs)
    show_queue(found)
    show_store(found)
    show_survival(given.patience)


def describe(records: int, jobs: int, runs: int) -> None:
    """Print what is compared."""
    print(
        f"{records:,} messages of {len(CONTENT)} characters, {SESSIONS} sessions; {jobs:,} where each is a job. "
        f"Medians of {runs} runs, each with a queue server (AOF everysec), a database (WAL, synchronous=FULL) and one "
        f"worker process of its own. Jobs insert into the store's table, with its settings: a row in a transaction of "
        f"its own, or {PACKED} by `executemany` in one. They keep no counters of sessions, and nobody collected "
        f"the records that are packed by hand.\n"
    )
    for name, library in LIBRARIES.items():
        versions = ", ".join(f"{each} {version(each)}" for each in library.distributions)
        print(f"- {name} ({versions}): {library.settings}")
    print()


def compare(records: int, jobs: int, runs: int) -> dict[Contender, Found]:
    """Let all have their turn, as often as there are runs."""
    contenders: list[Contender] = [PENSTOCK, *PACKED_BY_HAND, ONE_AFTER_THE_OTHER, *SINGLY]
    found: dict[Contender, Found] = {}
    for _ in range(runs):
        for contender in contenders:
            number = jobs if contender.at_once == 1 else records
            of_this = found.setdefault(contender, Found([], [], []))
            filled, drained = fill_and_drain(contender, number)
            of_this.filled.append(filled)
            of_this.drained.append(drained)
            if contender is not ONE_AFTER_THE_OTHER:  # a matter of the producer alone
                of_this.moved.append(end_to_end(contender, number))
    return found


def show_queue(found: Mapping[Contender, Found]) -> None:
    """Print what it takes into the queue."""
    payload = len(msgpack.packb((new_id(), 0, wall_clock_us(), "user", CONTENT)))
    ours = middle(found[PENSTOCK].filled)
    rows = []
    for contender, of_this in found.items():
        theirs = middle(of_this.filled)
        rows.append(
            (
                contender.name,
                f"{theirs.rate:,.0f}",
                _times(ours.rate / theirs.rate),
                f"{theirs.producer_us:.1f}",
                f"{theirs.server_us:.1f}",
                _times((theirs.producer_us + theirs.server_us) / (ours.producer_us + ours.server_us)),
                f"{theirs.memory_bytes / payload:.2f}",
            )
        )
    table(
        (
            "into the queue, one process",
            "records/s",
            "Penstock is faster",
            "us of CPU a record: producer",
            "queue server",
            "Penstock is cheaper",
            f"queue memory / payload ({payload} B)",
        ),
        rows,
    )


def show_store(found: Mapping[Contender, Found]) -> None:
    """Print what it takes through to the store."""
    ours = found[PENSTOCK]
    table(
        (
            "through to SQLite",
            "end to end, records/s",
            "Penstock is faster",
            "us of CPU a record, all processes",
            "Penstock is cheaper",
            "a backlog, records/s",
            "Penstock is faster",
            "us of CPU a record, worker and queue server",
            "Penstock is cheaper",
        ),
        [
            (contender.name, *_beside(ours.moved, of_this.moved), *_beside(ours.drained, of_this.drained))
            for contender, of_this in found.items()
            if of_this.moved
        ],
    )


def _beside(ours: Sequence[Moved], theirs: Sequence[Moved]) -> tuple[str, ...]:
    own, other = middle(ours), middle(theirs)
    return (
        f"{other.rate:,.0f}",
        _times(own.rate / other.rate),
        f"{other.cpu_us:.1f}",
        _times(other.cpu_us / own.cpu_us),
    )


def show_survival(patience_s: float) -> None:
    """Print what becomes of the rows when a worker is killed. All at once: most of it is waiting."""
    contenders: list[Contender] = [PENSTOCK, *PACKED_BY_HAND]
    with ThreadPoolExecutor(len(contenders)) as threads:
        survived = list(threads.map(partial(kill, records=_KILLED_RECORDS, patience_s=patience_s), contenders))
    settings = [f"{WorkerConfig().lease_ms / 1000:.0f} s (a lease)", *(each.abandoned for each in LIBRARIES.values())]
    table(
        (
            f"one SIGKILL of the worker, then another worker, {_KILLED_RECORDS:,} records",
            "rows before",
            f"missing {patience_s:.0f} s after",
            "twice",
            "all there after",
            "by its own settings, what a dead worker had is taken up after",
        ),
        [
            (
                contender.name,
                f"{left.before:,}",
                f"{left.missing:,}",
                left.twice,
                f"not within {patience_s:.0f} s" if left.after_s is None else f"{left.after_s:.1f} s",
                setting,
            )
            for contender, left, setting in zip(contenders, survived, settings, strict=True)
        ],
    )


def middle(figures: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return type(figures[0])(*(median(column) for column in zip(*figures, strict=True)))


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} x" if ratio >= 10 else f"{ratio:.2f} x"


if __name__ == "__main__":
    main()
