"""From one producer to 256."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.growth.findings import Axis, Extent, Findings
from benchmarks.growth.rig import queue_cpu_s
from benchmarks.growth.senders import Order
from benchmarks.measuring import CONTENT, Watch, median, percentile, system

PRODUCERS = (1, 4, 16, 64, 256)
PROCESSES = 2
RECORDS = 200_000
PACE, PACED_S = 2_000, 5
"""Records a second of all of them together, and for how long."""

_STOP_TIMEOUT_S = 30


class Sent(NamedTuple):
    """What all of them sent."""

    rate: float
    """Records a second, until the queue has confirmed the last."""
    queue_us: float
    """Microseconds of a core for each record, of the queue server."""
    producers_us: float
    """Of the producers' processes."""
    waits_ms: Sequence[float]
    """From a call until `queued()`."""


class Senders:
    """Processes with producers, which work at the same time."""

    def __init__(self, url: str, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._url = url
        self._processes = processes

    def send(self, records: int, rate: float | None = None) -> Sent:
        """Send so many records, all together."""
        watch, queue_s = Watch(*(process.pid for process in self._processes)), queue_cpu_s(self._url)
        share = 1 / len(self._processes)
        order = Order(round(records * share), None if rate is None else rate * share)
        for process in self._processes:
            print(json.dumps(order), file=process.stdin, flush=True)
        waits_ms = [wait for found in self.answers() for wait in found]
        spent = watch.spent()
        queue_us = (queue_cpu_s(self._url) - queue_s) / records * 1e6
        return Sent(spent.rate(records), queue_us, spent.cpu_us(records), waits_ms)

    def answers(self) -> list[Sequence[float]]:
        """What each of them says next."""
        lines = [process.stdout.readline() if process.stdout else "" for process in self._processes]
        if not all(lines):
            raise RuntimeError("a process of producers has ended; what it says stands above")
        return [json.loads(line) for line in lines]


def _measure(extent: Extent, found: Findings) -> None:
    """Send the same records through more and more producers."""
    found.head = (
        "producers",
        "flat out, records/s",
        "producers, CPU us",
        "queue, CPU us",
        f"at {PACE:,}/s: producers, CPU us",
        "queue, CPU us",
        "`queued()` p50, ms",
        "p99, ms",
    )
    for producers in PRODUCERS:
        _with(extent, found, producers)


def _with(extent: Extent, found: Findings, producers: int) -> None:
    flat_out, paced = [], []
    with system() as (_, environment), _senders(environment, producers) as senders:
        senders.send(1_000)
        for _ in range(extent.runs):
            flat_out.append(senders.send(extent.of(RECORDS)))
            paced.append(senders.send(extent.of(PACE * PACED_S), PACE))
    fast, slow = _middle(flat_out), _middle(paced)
    p50_ms, p99_ms = (median([percentile(each.waits_ms, share) for each in paced]) for share in (0.5, 0.99))
    costs = (fast.producers_us, fast.queue_us, slow.producers_us, slow.queue_us)
    found.row(producers, f"{fast.rate:,.0f}", *(f"{cost:.1f}" for cost in costs), f"{p50_ms:.1f}", f"{p99_ms:.1f}")
    found.point("records/s, flat out", "into the queue", producers, fast.rate)
    found.point("CPU of a record, us", "queue server, flat out", producers, fast.queue_us)
    found.point("CPU of a record, us", "producers, flat out", producers, fast.producers_us)
    found.point("CPU of a record, us", f"queue server, {PACE:,}/s", producers, slow.queue_us)
    found.point("CPU of a record, us", f"producers, {PACE:,}/s", producers, slow.producers_us)
    found.point(f"queued() at {PACE:,}/s, ms", "p50", producers, p50_ms)
    found.point(f"queued() at {PACE:,}/s, ms", "p99", producers, p99_ms)


def _middle(found: Sequence[Sent]) -> Sent:
    """The median of each figure; the waits are counted otherwise."""
    rate, queue_us, producers_us = (median(column) for column in zip(*(each[:3] for each in found), strict=True))
    return Sent(rate, queue_us, producers_us, ())


@contextlib.contextmanager
def _senders(environment: Mapping[str, str], producers: int) -> Iterator[Senders]:
    """The producers, in as many processes as there are, or as can be used."""
    count = min(producers, PROCESSES)
    command = [sys.executable, "-m", "benchmarks.growth.senders", str(producers // count)]
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            pipe = subprocess.PIPE
            processes.append(subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True))
        senders = Senders(environment["PENSTOCK_REDIS_URL"], processes)
        senders.answers()
        yield senders
    finally:
        for process in processes:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """It ends when its standard input does."""
    with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
        process.communicate(timeout=_STOP_TIMEOUT_S)
    process.kill()
    process.wait()


AXIS = Axis(
    title="From one producer to 256",
    grows="producers",
    note=(
        f"{RECORDS:,} messages of {len(CONTENT)} characters in 1,000 sessions as fast as they are taken, then "
        f"{PACE:,} a second, by all producers together. More than one are in {PROCESSES} processes. Each sends for "
        "itself: the more of them share the records, the fewer travel together."
    ),
    measure=_measure,
)
