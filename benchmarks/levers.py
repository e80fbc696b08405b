"""What each setting does to the figures, one lever at a time against the defaults, in one run.

Durability levels have a program of their own, `durability`, and so has `compression`.

python -m benchmarks.levers [--records 240000] [--runs 2] [--messages 8]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import redis

from benchmarks.draining import send
from benchmarks.measuring import (
    CONTENT,
    Watch,
    median,
    percentile,
    queue_server_pid,
    stored,
    system,
    table,
    worker,
)
from penstock.producer import Producer
from penstock.wire.loops import UseUvloop, new_loop

T = TypeVar("T")
F = TypeVar("F", "Moved", "Waited")

LEAD = 0.1
"""Of a backlog: drained before the clock starts, while the workers get going."""
PACED_RATE = 2_000
PACED_S = 2.0
IDLE_S = 2.0


class Lever(NamedTuple):
    """A way to run the same thing."""

    name: str
    settings: dict[str, str]
    """Without their `PENSTOCK_`."""
    workers: int = 1
    uvloop: UseUvloop = "never"
    """For this process, which is the agent's."""
    appendfsync: str = "everysec"

    @property
    def environment(self) -> dict[str, str]:
        """The settings as variables."""
        return {f"PENSTOCK_{name}": value for name, value in self.settings.items()}


DEFAULT = Lever("defaults", {})

DRAIN = [
    DEFAULT,
    Lever("`BATCH_RECORDS=200`", {"BATCH_RECORDS": "200"}),
    Lever("`BATCH_RECORDS=2000`", {"BATCH_RECORDS": "2000"}),
    Lever("`BATCH_RECORDS=16000`, `BATCH_BYTES=16777216`", {"BATCH_RECORDS": "16000", "BATCH_BYTES": "16777216"}),
    Lever("`SLICE_MS=250`", {"SLICE_MS": "250"}),
    Lever("`PARTITIONS=1`", {"PARTITIONS": "1"}),
    Lever("`PARTITIONS=32`", {"PARTITIONS": "32"}),
    Lever("two workers", {}, workers=2),
    Lever("`UVLOOP=never`", {"UVLOOP": "never"}),
]
FILL = [
    DEFAULT,
    Lever("the program's loop is uvloop's", {}, uvloop="auto"),
    Lever("`PARTITIONS=1`", {"PARTITIONS": "1"}),
    Lever("`PARTITIONS=32`", {"PARTITIONS": "32"}),
    Lever("`appendfsync always`", {}, appendfsync="always"),
]
PACED = [
    DEFAULT,
    Lever("`LINGER_MS=0`", {"LINGER_MS": "0"}),
    Lever("`LINGER_MS=50`", {"LINGER_MS": "50"}),
    Lever("the program's loop is uvloop's", {}, uvloop="auto"),
    Lever("`PARTITIONS=1`", {"PARTITIONS": "1"}),
]
IDLE = [
    DEFAULT,
    Lever("`POLL_MS=20`", {"POLL_MS": "20"}),
    Lever("`POLL_MS=1000`", {"POLL_MS": "1000"}),
    Lever("`LINGER_MS=0`", {"LINGER_MS": "0"}),
    Lever("`UVLOOP=never`", {"UVLOOP": "never"}),
]


class Moved(NamedTuple):
    """How fast, and what it took: microseconds of a core for each record."""

    rate: float
    ours_us: float
    """Of the worker, or of the producer."""
    server_us: float


class Waited(NamedTuple):
    """Milliseconds of a call, and the percentage of a core that doing nothing takes."""

    p50: float
    p99: float
    worker_share: float
    server_share: float


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=240_000)
    arguments.add_argument("--runs", type=int, default=2)
    arguments.add_argument("--messages", type=int, default=8, help="timed one by one, in each run")
    given = arguments.parse_args()
    print(
        f"One lever at a time, medians of {given.runs} runs that take turns, {given.records:,} messages of "
        f"{len(CONTENT)} characters. Microseconds are of a core, for each record.\n"
    )
    show_moved("a backlog drained into SQLite", "worker", DRAIN, given.runs, lambda one: drain(one, given.records))
    show_moved("into the queue at full speed", "producer", FILL, given.runs, lambda one: fill(one, given.records))
    show_moved(f"into the queue at {PACED_RATE:,} records/s", "producer", PACED, given.runs, paced)
    waited = in_turns(IDLE, given.runs, lambda one: idle(one, given.messages))
    table(
        ["idle: from the call to stored", "p50, ms", "p99, ms", "worker idle, % of a core", "queue server idle, %"],
        [
            [lever.name, f"{m.p50:.1f}", f"{m.p99:.1f}", f"{m.worker_share:.1f}", f"{m.server_share:.1f}"]
            for lever, m in waited
        ],
    )


def in_turns(levers: list[Lever], runs: int, measure: Callable[[Lever], F]) -> list[tuple[Lever, F]]:
    """The median of each figure of each lever; the runs of all take turns, so that what disturbs them is shared."""
    found: dict[str, list[F]] = defaultdict(list)
    for _ in range(runs):
        for lever in levers:
            found[lever.name].append(measure(lever))
    return [(lever, _middle(found[lever.name])) for lever in levers]


def _middle(found: list[F]) -> F:
    make: Any = type(found[0])
    middle: F = make(*(median(column) for column in zip(*found, strict=True)))
    return middle


def show_moved(what: str, who: str, levers: list[Lever], runs: int, measure: Callable[[Lever], Moved]) -> None:
    """Measure and print one table."""
    results = in_turns(levers, runs, measure)
    default = results[0][1]
    table(
        [what, "records/s", "against the defaults", f"{who}, us", "queue server, us"],
        [
            [lever.name, f"{m.rate:,.0f}", f"{m.rate / default.rate:.2f}", f"{m.ours_us:.1f}", f"{m.server_us:.2f}"]
            for lever, m in results
        ],
    )


def drain(lever: Lever, records: int) -> Moved:
    """A queue that is full when the workers start."""
    lead = int(records * LEAD)
    with contextlib.ExitStack() as stack:
        _, environment = stack.enter_context(system(**lever.environment))
        url = environment["PENSTOCK_REDIS_URL"]
        asyncio.run(send(environment, records + lead, "queued"))
        workers = [stack.enter_context(worker(environment)) for _ in range(lever.workers)]
        begun = asyncio.run(stored(url, lead))  # a commit settles thousands
        ours, server = Watch(*(each.pid for each in workers)), Watch(queue_server_pid(url))
        moved = asyncio.run(stored(url, records + lead)) - begun
        spent, served = ours.spent(), server.spent()
    return Moved(spent.rate(moved), spent.cpu_us(moved), served.cpu_us(moved))


def fill(lever: Lever, records: int) -> Moved:
    """As fast as one producer takes them, until the queue has all, as durable as they shall be."""
    with _served(lever) as (environment, url):
        run(send(environment, 1_000, "queued"), lever)
        ours, server = Watch(), Watch(queue_server_pid(url))
        run(send(environment, records, "queued"), lever)
        spent, served = ours.spent(), server.spent()
    return Moved(spent.rate(records), spent.cpu_us(records), served.cpu_us(records))


def paced(lever: Lever) -> Moved:
    """An agent's pace."""
    with _served(lever) as (environment, url):
        return run(_paced(environment, url), lever)


async def _paced(environment: dict[str, str], url: str) -> Moved:
    async with Producer.from_env(environment) as producer:
        producer.message(session_id="s", role="user", content=CONTENT)
        await producer.flush()
        ours, server = Watch(), Watch(queue_server_pid(url))
        began, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < PACED_S:
            for number in range(done, int(passed * PACED_RATE)):
                producer.message(session_id=f"session-{number % 200}", role="user", content=CONTENT)
            done = max(done, int(passed * PACED_RATE))
            await asyncio.sleep(0.002)
        await producer.flush()
        spent, served = ours.spent(), server.spent()
    return Moved(spent.rate(done), spent.cpu_us(done), served.cpu_us(done))


def idle(lever: Lever, messages: int) -> Waited:
    """One message now and then, each when the system has fallen idle."""
    with system(**lever.environment) as (_, environment), worker(environment) as process:
        times = run(_one_by_one(environment, messages), lever)
        ours, server = Watch(process.pid), Watch(queue_server_pid(environment["PENSTOCK_REDIS_URL"]))
        time.sleep(IDLE_S)
        spent, served = ours.spent(), server.spent()
    return Waited(
        median(times), percentile(times, 0.99), spent.cpu_s / spent.wall_s * 100, served.cpu_s / served.wall_s * 100
    )


async def _one_by_one(environment: dict[str, str], messages: int) -> list[float]:
    rng = random.Random(7)
    found = []
    async with Producer.from_env(environment) as producer:
        await producer.message(session_id="warm", role="user", content="up").stored(timeout=60)
        for number in range(messages):
            await asyncio.sleep(rng.uniform(0.3, 0.5))
            began = time.perf_counter()
            await producer.message(session_id=f"s{number}", role="user", content=CONTENT).stored(timeout=30)
            found.append((time.perf_counter() - began) * 1000)
    return found


@contextlib.contextmanager
def _served(lever: Lever) -> Any:
    with system(**lever.environment) as (_, environment):
        url = environment["PENSTOCK_REDIS_URL"]
        with redis.Redis.from_url(url) as client:
            client.config_set("appendfsync", lever.appendfsync)
        yield environment, url


def run(main: Coroutine[Any, Any, T], lever: Lever) -> T:
    """As `asyncio.run`, on the loop that the lever wants."""
    with asyncio.Runner(loop_factory=lambda: new_loop(lever.uvloop)) as runner:
        return runner.run(main)


if __name__ == "__main__":
    main()
