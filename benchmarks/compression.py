"""What compressing frames costs and saves, by what the records hold.

python -m benchmarks.compression [--records 40000] [--runs 3]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.measuring import Watch, median, queue_memory, queue_server_pid, stored, system, table, worker
from penstock.producer import Producer

AT_ONCE = 500
PACED_RATE = 10_000
PACED_S = 2.0
DIFFERENT = 20_000
"""Texts and events of each sort; they come again."""

LEAD = 0.1
"""Of the records: drained before the clock starts, while the worker gets going."""


class Content(NamedTuple):
    """Records of one sort."""

    name: str
    lane: str
    hand_over: Callable[[Producer, int], object]


class Cost(NamedTuple):
    """Of one run; times for each record."""

    bytes: float
    """Of the queue server's memory."""
    sent: float
    """Records a second into the queue."""
    producer_us: float
    server_us: float
    drained: float
    """Records a second out of it, into SQLite."""
    worker_us: float


def contents() -> list[Content]:
    """Text of 300 characters that follows the project's own, log events, and text that nothing is saved on."""
    rng = random.Random(7)
    texts = prose(rng)
    noise = [base64.b64encode(rng.randbytes(225)).decode() for _ in range(DIFFERENT)]
    events = tool_calls(rng)

    def message(content: list[str]) -> Callable[[Producer, int], object]:
        return lambda producer, n: producer.message(
            session_id=f"session-{n % 200}", role="user", content=content[n % len(content)]
        )

    def event(producer: Producer, n: int) -> object:
        return producer.log(
            level="info", event="tool_call", agent_id=f"agent-{n % 200}", data=events[n % len(events)], message="done"
        )

    return [
        Content("prose", "messages", message(texts)),
        Content("JSON log events", "logs", event),
        Content("base64 of noise", "messages", message(noise)),
    ]


def prose(rng: random.Random) -> list[str]:
    """Texts in which a word follows another as it does in the project's documents."""
    words = " ".join(page.read_text() for page in sorted(Path(__file__).parents[1].glob("docs/*.md"))).split()
    after: defaultdict[str, list[str]] = defaultdict(list)
    for word, following in itertools.pairwise(words):
        after[word].append(following)

    def text() -> str:
        said = [rng.choice(words)]
        while sum(map(len, said)) + len(said) < 300:
            said.append(rng.choice(after[said[-1]] or words))
        return " ".join(said)[:300]

    return [text() for _ in range(DIFFERENT)]


def tool_calls(rng: random.Random) -> list[dict[str, object]]:
    """What agents log of their tools."""
    return [
        {
            "tool": rng.choice(["search", "browse", "sql", "python"]),
            "duration_ms": rng.randint(1, 9_000),
            "tokens": {"prompt": rng.randint(10, 9_000), "completion": rng.randint(1, 2_000)},
            "request_id": uuid.UUID(int=rng.getrandbits(128)).hex,
            "ok": rng.random() < 0.97,
        }
        for _ in range(DIFFERENT)
    ]


async def hand_over(environment: dict[str, str], content: Content, records: int) -> None:
    """As fast as the producer takes them, until the queue has all."""
    async with Producer.from_env(environment) as producer:
        for number in range(records):
            content.hand_over(producer, number)
            if number % AT_ONCE == 0:
                await producer.ready()
                await asyncio.sleep(0)
        await producer.flush()


def cost(content: Content, compression: str, records: int) -> Cost:
    """A queue filled, then drained by one worker."""
    with system(PENSTOCK_COMPRESSION=compression) as (_, environment):
        url, lead = environment["PENSTOCK_REDIS_URL"], int(records * LEAD)
        asyncio.run(hand_over(environment, content, 1))
        before, ours, server = queue_memory(url), Watch(), Watch(queue_server_pid(url))
        asyncio.run(hand_over(environment, content, records))
        sent, served = ours.spent(), server.spent()
        memory = queue_memory(url) - before
        with worker(environment) as process:
            asyncio.run(stored(url, lead, content.lane))
            watch = Watch(process.pid)
            asyncio.run(stored(url, records, content.lane))
            drained = watch.spent()
    left = records - lead
    return Cost(
        memory / records,
        sent.rate(records),
        sent.cpu_us(records),
        served.cpu_us(records),
        drained.rate(left),
        drained.cpu_us(left),
    )


async def longest_turn(environment: dict[str, str], content: Content) -> float:
    """Milliseconds of a core that the loop worked at most before others had their turn, at 10,000 calls a second."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    async with Producer.from_env(environment) as producer:
        content.hand_over(producer, 0)
        await producer.flush()
        watching = asyncio.create_task(watch())
        began, done = time.perf_counter(), 1
        while (passed := time.perf_counter() - began) < PACED_S:
            for number in range(done, int(passed * PACED_RATE)):
                content.hand_over(producer, number)
            done = max(done, int(passed * PACED_RATE))
            await asyncio.sleep(0.001)
        watching.cancel()
        await producer.flush()
    return longest * 1000


def turn(content: Content, compression: str) -> float:
    """See `longest_turn`."""
    with system(PENSTOCK_COMPRESSION=compression) as (_, environment):
        return asyncio.run(longest_turn(environment, content))


def row(name: str, cost: Cost, turn_ms: float) -> list[str]:
    """A row of the table."""
    return [
        name,
        f"{cost.bytes:.0f}",
        f"{cost.sent:,.0f}",
        f"{cost.producer_us:.1f}",
        f"{cost.server_us:.2f}",
        f"{cost.drained:,.0f}",
        f"{cost.worker_us:.1f}",
        f"{turn_ms:.1f}",
    ]


HEAD = (
    "records",
    "queue memory, B",
    "into the queue, /s",
    "producer, us",
    "queue server, us",
    "drained into SQLite, /s",
    "worker, us",
    f"longest turn of the loop at {PACED_RATE:,}/s, ms",
)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=40_000)
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()
    choices = [(content, choice) for content in contents() for choice in ("none", "zstd")]
    costs: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    turns: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(given.runs):
        for content, choice in choices:
            costs[content.name, choice].append(cost(content, choice, given.records))
            turns[content.name, choice].append(turn(content, choice))
    rows = []
    for (name, choice), runs in costs.items():
        middle = Cost(*map(median, zip(*runs, strict=True)))
        rows.append(row(f"{name}, {choice}", middle, median(turns[name, choice])))
    print(f"{given.records:,} records, medians of {given.runs} runs; microseconds of a core for each record.\n")
    table(HEAD, rows)


if __name__ == "__main__":
    main()
