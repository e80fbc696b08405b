"""Workers die while records flow; the store ends with exactly what was sent, in order."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict

from penstock.query import Reader
from penstock.testing.system import System
from tests.faults.watching import agents_done, ended, flowing, judged_sound

RECORDS = 20_000
SESSIONS = 40


async def test_one_worker_killed_and_one_terminated_lose_and_repeat_nothing(system: System) -> None:
    first, second = system.start_worker(), system.start_worker()
    await system.workers_alive(2)
    sent: defaultdict[str, list[str]] = defaultdict(list)
    async with system.producer() as producer:
        for number in range(RECORDS):
            session, content = f"session-{number % SESSIONS}", f"message {number}"
            producer.message(session_id=session, role="user", content=content)
            sent[session].append(content)
            if number % 200 == 0:
                await asyncio.sleep(0.05)  # 4,000 records/s, so that the deaths fall in the middle
            if number == RECORDS // 4:
                first.send_signal(signal.SIGKILL)
                system.start_worker()
            if number == RECORDS // 2:
                second.send_signal(signal.SIGTERM)
                system.start_worker()
        await producer.flush(until="stored", timeout=60)

    assert second.wait(10) == 0
    assert system.contents() == sent
    assert system.counters() == {session: len(contents) for session, contents in sent.items()}
    counts = await system.counts()
    assert (counts.accepted, counts.stored, counts.pending, counts.dead) == (RECORDS, RECORDS, 0, 0)
    assert counts.balanced


async def test_losing_every_key_of_arq_costs_only_a_moment(system: System) -> None:
    """The sweep finds what nobody rings for."""
    async with system.producer() as producer:
        receipts = [producer.message(session_id="s", role="user", content=str(n)) for n in range(100)]
        await producer.flush(until="queued", timeout=10)
        client = system.server.client()
        jobs = client.scan_iter(f"arq:*{system.namespace}*")
        client.delete(f"{system.namespace}:bell", f"{system.namespace}:arq", *jobs)
        client.close()
        system.start_worker()
        await receipts[-1].stored(timeout=20)

    assert system.contents() == {"s": [str(n) for n in range(100)]}


async def test_a_killed_worker_costs_no_stream_no_log_and_no_vector(system: System) -> None:
    first, _ = system.start_worker(), system.start_worker()
    await system.workers_alive(2)
    expected: dict[str, list[str]] = {}
    async with system.producer() as producer:
        for number in range(300):
            session = f"session-{number}"
            async with producer.stream(session_id=session, role="assistant") as stream:
                for part in range(10):
                    stream.write(f"{number}-{part} ")
                    if part == 5:
                        await asyncio.sleep(0.01)  # so that streams are cut into several batches
            expected[session] = ["".join(f"{number}-{part} " for part in range(10))]
            producer.log(level="info", event="streamed", agent_id="agent", data={"number": number})
            producer.embedding(collection="docs", id=str(number), vector=[number, 1, 2, 3], text=session)
            if number == 150:
                first.send_signal(signal.SIGKILL)
        await producer.flush(until="stored", timeout=60)

    assert system.contents() == expected
    async with Reader.from_env(system.environment) as reader:
        assert await reader.count_logs(agent_id="agent") == 300
        hits = await reader.search("docs", vector=[7, 1, 2, 3], top_k=1000)
    assert sorted(hit.id for hit in hits) == sorted(str(number) for number in range(300))
    counts = await system.drained()
    assert (counts.dead, counts.open_streams, counts.balanced) == (0, 0, True)


async def test_both_workers_killed_at_once_lose_and_repeat_nothing(system: System) -> None:
    both = [system.start_worker(), system.start_worker()]
    await system.workers_alive(2)
    system.start_agent(seconds=4, rate=400)
    await flowing(system)
    for worker in both:
        worker.kill()
    system.start_worker()

    await agents_done(system)
    await judged_sound(system, accepted=1_000)


async def test_a_worker_killed_in_the_middle_of_streams_keeps_each_whole(system: System) -> None:
    """Each time a commit has put chunks into buffers, and another one is on its way."""
    system.start_worker(die_at=["after-store:6"])
    await system.workers_alive(1)
    expected = {f"session-{number}": "".join(f"{number}-{part} " for part in range(30)) for number in range(20)}
    async with system.producer() as producer:

        async def write(number: int) -> None:
            async with producer.stream(session_id=f"session-{number}", role="assistant") as stream:
                for part in range(30):
                    stream.write(f"{number}-{part} ")
                    await asyncio.sleep(0.05)

        writing = asyncio.gather(*(write(number) for number in range(20)))
        assert await ended(system.workers[0]) == -signal.SIGKILL
        system.start_worker(die_at=["after-trim:9"])
        system.start_worker()
        await writing
        await producer.flush(until="stored", timeout=30)

    assert system.contents() == {session: [text] for session, text in expected.items()}
    counts = await system.drained()
    assert (counts.stored, counts.dead, counts.open_streams, counts.balanced) == (counts.accepted, 0, 0, True)


async def test_a_killed_worker_leaves_nothing_that_others_look_at_for_ever(system: System) -> None:
    """arq keeps what it began at the head of its queue until the job's time is over: half an hour."""
    system.start_worker(die_at=["before-store"])
    await system.workers_alive(1)
    async with system.producer() as producer:
        receipt = producer.message(session_id="s", role="user", content="hello")
        assert await ended(system.workers[0]) == -signal.SIGKILL
        with system.server.client() as client:
            (left,) = (job for job in client.zrange(f"{system.namespace}:arq", 0, -1) if b":drain:" in job)
            system.start_worker()
            await receipt.stored(timeout=20)

            assert left not in client.zrange(f"{system.namespace}:arq", 0, -1)
