"""What a call costs the agent: how long it takes, what it keeps, and how long a busy event loop stands still.

python -m benchmarks.call [--calls 50000] [--awaited 1000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import logging.handlers
import queue
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite
import asyncpg
from arq.connections import RedisSettings, create_pool
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from benchmarks.measuring import CONTENT, median, percentile, postgres, system, table
from penstock.producer import Producer, ProducerSettings

_AT_ONCE = 1_000
"""Calls between two turns of the loop."""

_RATE, _BUSY_S = 10_000, 4.0

_SESSIONS = [f"session-{number}" for number in range(50)]
_TEXTS = [f"{number:04}{CONTENT[4:]}" for number in range(_AT_ONCE)]
_TOKENS = [f"token {number}" for number in range(_AT_ONCE)]

_TABLE = "CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, role TEXT, content TEXT, created_at_us BIGINT)"
_INSERT = "INSERT INTO message VALUES ({})"


class Way(NamedTuple):
    """One way to hand a message over."""

    name: str
    promise: str
    """Where the message is when the call returns."""
    call: Callable[[int], Any]
    """Given a number; awaited where it returns an awaitable."""
    rest: Callable[[], Awaitable[object]]
    """Until everything handed over has left."""


class Kept(NamedTuple):
    """What a call holds, by tracemalloc."""

    size: float
    """Bytes a call, until it has left; what the caller had before is not counted."""
    blocks: float
    left: float
    """Bytes a call once it has left."""


# -- the ways ---------------------------------------------------------------------------------------


async def _turn() -> None:
    await asyncio.sleep(0.001)


def _nothing() -> Way:
    return Way("nothing: what measuring costs", "nowhere", lambda _: None, _turn)


@contextlib.asynccontextmanager
async def _penstock(url: str) -> AsyncIterator[tuple[Way, Way]]:
    settings = ProducerSettings(redis_url=url, namespace="bench", backlog_records=10**8)
    async with (
        Producer(settings=settings) as producer,
        producer.stream(session_id="session-0", role="assistant") as stream,
    ):
        message = producer.message

        def say(number: int) -> object:
            return message(session_id=_SESSIONS[number % 50], role="user", content=_TEXTS[number % _AT_ONCE])

        promise = "in memory, sent within 5 ms"
        yield (
            Way("`producer.message()`", promise, say, producer.flush),
            Way("`stream.write()`", promise, lambda number: stream.write(_TOKENS[number % _AT_ONCE]), producer.flush),
        )


class _Dropping:
    """An exporter."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - it drops them
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """There is nothing to end."""


@contextlib.asynccontextmanager
async def _opentelemetry() -> AsyncIterator[Way]:
    tracer = TracerProvider().get_tracer(__name__)
    span: Any = tracer.start_span("message", attributes={"session_id": "session-0", "role": "user", "content": CONTENT})
    span.end()
    processor = BatchSpanProcessor(_Dropping())

    async def rest() -> None:
        await asyncio.to_thread(processor.force_flush)

    yield Way(
        "OpenTelemetry `on_end`, of a ready span", "in memory, lost when full", lambda _: processor.on_end(span), rest
    )
    processor.shutdown()


@contextlib.asynccontextmanager
async def _logging() -> AsyncIterator[Way]:
    records: queue.Queue[Any] = queue.Queue(-1)
    listener = logging.handlers.QueueListener(records, logging.NullHandler())
    logger = logging.Logger(__name__, logging.INFO)  # noqa: LOG001 - its own, that nobody else listens to
    logger.addHandler(logging.handlers.QueueHandler(records))
    listener.start()

    async def rest() -> None:
        await asyncio.to_thread(records.join)

    yield Way(
        "`QueueHandler`, with a listener", "in memory, unbounded", lambda n: logger.info(_TEXTS[n % _AT_ONCE]), rest
    )
    listener.stop()


@contextlib.asynccontextmanager
async def _arq(url: str) -> AsyncIterator[Way]:
    pool = await create_pool(RedisSettings.from_dsn(url))

    def enqueue(number: int) -> Awaitable[object]:
        return pool.enqueue_job("store", _SESSIONS[number % 50], "user", _TEXTS[number % _AT_ONCE])

    yield Way("`await arq.enqueue_job()`", "in Redis, synced within 1 s", enqueue, _turn)
    await pool.aclose()


def _row(number: int) -> tuple[object, ...]:
    text = _TEXTS[number % _AT_ONCE]
    return str(uuid.uuid4()), _SESSIONS[number % 50], "user", text, time.time_ns() // 1000


@contextlib.asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[Way]:
    async with aiosqlite.connect(folder / "peer.db") as database:
        await database.execute("PRAGMA journal_mode = WAL")
        await database.execute("PRAGMA synchronous = FULL")
        await database.execute(_TABLE)

        async def insert(number: int) -> None:
            await database.execute(_INSERT.format("?, ?, ?, ?, ?"), _row(number))
            await database.commit()

        yield Way("`await` an insert and its commit, aiosqlite", "on disk", insert, _turn)


@contextlib.asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Way]:
    connection = await asyncpg.connect(url)
    await connection.execute(_TABLE)

    def insert(number: int) -> Awaitable[object]:
        done: Awaitable[object] = connection.execute(_INSERT.format("$1, $2, $3, $4, $5"), *_row(number))
        return done

    yield Way("`await` an insert, asyncpg", "on disk", insert, _turn)
    await connection.close()


# -- measuring --------------------------------------------------------------------------------------


async def timed(way: Way, calls: int) -> list[float]:
    """Microseconds of each call. What it left has left between rounds, outside what is timed."""
    found = []
    call = way.call
    for start in range(0, calls, _AT_ONCE):
        for number in range(start, min(start + _AT_ONCE, calls)):
            before = time.perf_counter_ns()
            pending = call(number)
            if isinstance(pending, Awaitable):
                await pending
            found.append((time.perf_counter_ns() - before) / 1000)
        await way.rest()
    return found


async def kept(way: Way, calls: int) -> Kept:
    """What *calls* keep, with nothing sent between."""
    await way.rest()
    gc.collect()
    tracemalloc.start()
    try:
        before = _traced()
        for number in range(calls):
            pending = way.call(number)
            if isinstance(pending, Awaitable):
                await pending
        held = _traced()
        await way.rest()
        gc.collect()
        after = _traced()
    finally:
        tracemalloc.stop()
    size, blocks = (held[at] - before[at] for at in range(2))
    return Kept(size / calls, blocks / calls, (after[0] - before[0]) / calls)


def _traced() -> tuple[int, int]:
    # What tracemalloc itself and its snapshots take is none of the call's.
    ours = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__)]
    )
    found = ours.statistics("filename")
    return sum(each.size for each in found), sum(each.count for each in found)


class Stalls(NamedTuple):
    """What a heartbeat of a millisecond saw of a busy loop."""

    longest_ms: float
    """How late its latest beat was."""
    late_p99_ms: float
    longest_work_ms: float
    """Most processor time of the loop's thread between two beats: other programs do not count."""
    call_us: list[float]


async def busy(way: Way) -> Stalls:
    """Hand over so many messages a second beside a heartbeat."""
    late: list[float] = []
    worked: list[float] = []
    took: list[float] = []
    heart = asyncio.create_task(_beat(late, worked))
    begun = time.perf_counter()
    sent = 0
    while (elapsed := time.perf_counter() - begun) < _BUSY_S:
        due = int(elapsed * _RATE)
        for number in range(sent, due):
            before = time.perf_counter_ns()
            way.call(number)
            took.append((time.perf_counter_ns() - before) / 1000)
        sent = due
        await asyncio.sleep(0.001)
    heart.cancel()
    await asyncio.wait((heart,))
    await way.rest()
    return Stalls(max(late), percentile(late, 0.99), max(worked), took)


async def _beat(late: list[float], worked: list[float]) -> None:
    while True:
        at, used = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - at) * 1000 - 1)
        worked.append((time.thread_time() - used) * 1000)


# -- all of it --------------------------------------------------------------------------------------


async def measure(url: str, folder: Path, postgres_url: str, given: argparse.Namespace) -> None:
    """Print the tables."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        message, write = await enter(_penstock(url))
        span, log = await enter(_opentelemetry()), await enter(_logging())
        awaited = [await enter(_arq(url)), await enter(_sqlite(folder)), await enter(_postgres(postgres_url))]
        await _calls([_nothing(), message, write, span, log], awaited, given)
        await _loop([_nothing(), message, write, span, log], given.rounds)


async def _calls(plain: Sequence[Way], awaited: Sequence[Way], given: argparse.Namespace) -> None:
    rows = []
    for way in (*plain, *awaited):
        calls = given.calls if way in plain else given.awaited
        await timed(way, min(calls, _AT_ONCE))  # to be warm
        took = await timed(way, calls)
        memory = await kept(way, _AT_ONCE if way in plain else 300)
        rows.append(
            (
                way.name,
                way.promise,
                *(f"{found:,.2f}" for found in (median(took), percentile(took, 0.99), percentile(took, 0.999))),
                *(f"{max(found, 0):,.1f}" for found in memory),
            )
        )
    print(f"A message of {len(CONTENT)} characters, handed over alone.\n")
    head = ("call", "when it returns, the message is", "median, us", "p99, us", "p99.9, us")
    table((*head, "bytes kept", "blocks kept", "bytes left"), rows)


async def _loop(ways: Sequence[Way], rounds: int) -> None:
    found: dict[str, list[Stalls]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            found[way.name].append(await busy(way))
    rows = []
    for name, seen in found.items():
        calls = [us for each in seen for us in each.call_us]
        stalls = (median(figures) for figures in zip(*(each[:3] for each in seen), strict=True))
        longest = max(each.longest_work_ms for each in seen)
        rows.append(
            (
                name,
                f"{median(calls):.2f}",
                f"{percentile(calls, 0.99):.2f}",
                *(f"{stall:.2f}" for stall in (*stalls, longest)),
            )
        )
    print(
        f"{_RATE:,} a second, in an event loop with a heartbeat of 1 ms. Medians of {rounds} rounds of {_BUSY_S:g} s.\n"
    )
    head = ("call", "median, us", "p99, us", "longest stall, ms", "p99 of the beat, ms")
    table((*head, "longest work at a stretch, CPU ms", "the same of all rounds"), rows)


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=50_000, help="timed plain calls of each kind")
    arguments.add_argument("--awaited", type=int, default=1_000, help="timed awaited calls of each kind")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    with system() as (folder, environment), postgres() as postgres_url:
        asyncio.run(measure(environment["PENSTOCK_REDIS_URL"], folder, postgres_url, given))


if __name__ == "__main__":
    main()
