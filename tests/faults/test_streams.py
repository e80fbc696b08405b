"""Streams of real processes: killed, paused and crowded, they end as what was written, or as what had arrived."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

from penstock.producer.receipt import Receipt
from penstock.producer.stream import Stream
from penstock.testing.stores_seen import sqlite_path
from penstock.testing.system import System
from penstock.wire.queue import Queue
from tests.conformance.sqlite_file import rows

AGENT = """
import asyncio, sys
from penstock.producer import Producer

async def main():
    async with Producer.from_env() as producer:
        async with producer.stream(session_id="s", role="assistant") as stream:
            for text in sys.argv[1:]:
                stream.write(text)
                await producer.flush("stored")
                print(text, flush=True)
                await asyncio.to_thread(sys.stdin.readline)
        await stream.receipt.stored(timeout=30)

asyncio.run(main())
"""


async def agent(system: System, *texts: str) -> asyncio.subprocess.Process:
    """A process that writes *texts* into one stream, each when it reads a line, and tells of each that is kept."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, *texts, env=system.environment, stdin=PIPE, stdout=PIPE
    )


async def told(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def go_on(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


def messages(system: System) -> list[tuple[str, str | None]]:
    """Contents and states, read past the library."""
    path = sqlite_path(system.sql_url)
    return [(content, state) for content, state in rows(path, "SELECT content, state FROM messages ORDER BY id")]


async def becomes(system: System, wanted: list[tuple[str, str | None]]) -> None:
    async with asyncio.timeout(20):
        while not system.database.exists() or messages(system) != wanted:
            await asyncio.sleep(0.05)


async def test_a_stream_of_a_killed_producer_is_stored_as_interrupted_with_what_arrived(system: System) -> None:
    system.settings["PENSTOCK_STREAM_TIMEOUT_MS"] = "1000"
    system.start_worker()
    process = await agent(system, "half ", "an answer", "never")
    assert await told(process) == "half"
    go_on(process)
    assert await told(process) == "an answer"

    process.kill()
    await process.wait()

    await becomes(system, [("half an answer", "interrupted")])
    assert (await system.drained()).balanced


async def test_a_producer_that_was_paused_for_too_long_goes_on_and_mends_the_row(system: System) -> None:
    system.settings["PENSTOCK_STREAM_TIMEOUT_MS"] = "1000"
    system.start_worker()
    process = await agent(system, "one ", "two")
    await told(process)
    process.send_signal(signal.SIGSTOP)
    await becomes(system, [("one ", "interrupted")])

    process.send_signal(signal.SIGCONT)
    go_on(process)
    await told(process)
    go_on(process)

    assert await process.wait() == 0
    assert messages(system) == [("one two", None)]
    assert (await system.drained()).balanced


async def test_streams_outlive_the_deaths_of_their_workers(system: System) -> None:
    for step in ("after-store:5", "after-trim:8"):
        system.start_worker(die_at=[step])
    await system.workers_alive(2)
    written = {n: [f"{n}.{part} " for part in range(15)] for n in range(100)}
    async with system.producer() as producer:
        streams = [producer.stream(session_id=f"s{n}", role="assistant") for n in written]
        async with asyncio.TaskGroup() as group:
            for stream, texts in zip(streams, written.values(), strict=True):
                group.create_task(_write(stream, texts))
        system.start_worker()
        await producer.flush("stored", timeout=60)

    assert system.contents() == {f"s{n}": ["".join(texts)] for n, texts in written.items()}
    counts = await system.counts()
    assert (counts.pending, counts.dead, counts.open_streams, counts.balanced) == (0, 0, 0, True)
    assert [worker.poll() for worker in system.workers].count(-signal.SIGKILL) == 2


async def _write(stream: Stream[Receipt], texts: list[str]) -> None:
    async with stream:
        for text in texts:
            stream.write(text)
            await asyncio.sleep(0.1)


async def test_ten_thousand_open_streams_over_a_bound_of_a_thousand_lose_no_text(system: System) -> None:
    """Each has some of its text in the queue and some in the store, and no more than the bound is in the queue."""
    system.start_worker()
    async with system.producer() as producer, Queue(system.server.url, system.namespace) as queue:
        streams = [producer.stream(session_id=f"s{n % 100}", role="assistant") for n in range(10_000)]
        for stream in streams:
            await stream.__aenter__()
        for part in ("one ", "two ", "three"):
            for n, stream in enumerate(streams):
                stream.write(f"{n} {part}")
                if n % 2_000 == 0:
                    await producer.ready()
            await producer.flush("stored", timeout=60)
            async with asyncio.timeout(30):
                while (await system.counts()).open_streams > 1_000:
                    await asyncio.sleep(0.05)
            buffers = [key async for key in queue.client.scan_iter(f"{system.namespace}:*:buf:*", 1_000)]
            assert len(buffers) <= 1_000
        for stream in streams:
            await stream.__aexit__(None, None, None)
        await producer.flush("stored", timeout=60)

    wanted = sorted(f"{n} one {n} two {n} three" for n in range(10_000))
    assert sorted(content for content, state in messages(system) if state is None) == wanted
    counts = await system.counts()
    assert (counts.pending, counts.dead, counts.open_streams, counts.balanced) == (0, 0, 0, True)
