"""Producers are killed with a full spool, and while they send it; files are damaged and disks are full."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import Producer, ProducerSettings
from penstock.producer.spool_file import Draft
from penstock.producer.spool_folder import SpoolFolder
from penstock.wire import building
from penstock.wire.frames import encode
from penstock.wire.ids import RisingClock
from penstock.wire.keys import Partition, partition_of
from penstock.wire.levels import FAST
from penstock.wire.queue import DEFAULT_PARTITIONS, Queue
from tests.system.producer_support import contents

SOON = 60.0
SESSIONS = [f"s{number}" for number in range(4)]

FILL = """
import asyncio, sys
from penstock.producer import Producer, ProducerSettings

async def main():
    settings = ProducerSettings(redis_url=sys.argv[1], spool_dir=sys.argv[2], spool_after_ms=20, retry_base_ms=5)
    async with Producer(settings=settings) as producer:
        number = 0
        while True:
            for session in ("s0", "s1", "s2", "s3"):
                producer.message(session_id=session, role="user", content=str(number))
            number += 1
            await asyncio.sleep(0.001)

asyncio.run(main())
"""

DRAIN = """
import asyncio, sys
from penstock.producer import Producer, ProducerSettings

async def main():
    settings = ProducerSettings(redis_url=sys.argv[1], spool_dir=sys.argv[2])
    async with Producer(settings=settings) as producer:
        await producer.flush()

asyncio.run(main())
"""


def start(program: str, url: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, url, str(folder)], stderr=subprocess.DEVNULL)


def spooled(folder: Path) -> int:
    return SpoolFolder(folder, "penstock").spooled().records


def settings_of(url: str, folder: Path) -> ProducerSettings:
    return ProducerSettings(redis_url=url, spool_dir=str(folder), retry_base_ms=5, retry_cap_ms=50, spool_after_ms=20)


async def found(url: str) -> tuple[dict[str, list[str | None]], int]:
    async with Queue(url) as queue:
        return (
            {session: await contents(queue, session) for session in SESSIONS},
            sum(count.accepted for count in (await queue.counts()).values()),
        )


@pytest.mark.parametrize("reached", [False, True])
async def test_a_producer_killed_with_a_full_spool_loses_nothing_that_was_in_it(tmp_path: Path, reached: bool) -> None:
    """Whether it had ever reached the queue or not."""
    folder, server = tmp_path / "spool", EmbeddedQueue(tmp_path / "queue", free_port())
    if reached:
        server.start()
    producer = start(FILL, server.url, folder)
    async with asyncio.timeout(SOON):
        if reached:
            async with Queue(server.url) as queue:
                while not sum(count.accepted for count in (await queue.counts()).values()):
                    await asyncio.sleep(0.01)
            server.kill()
        while spooled(folder) < 2_000:
            await asyncio.sleep(0.02)
    producer.send_signal(signal.SIGKILL)
    producer.wait(10)
    waiting = spooled(folder)

    with capture_logs() as lines, server:
        _, before = await found(server.url)
        async with Producer(settings=settings_of(server.url, folder)) as heir:
            await heir.flush(timeout=SOON)
        sent, accepted = await found(server.url)

    for session in SESSIONS:
        assert sent[session] == [str(number) for number in range(len(sent[session]))]
    # The push on its way when the queue went may have got there: then its second time appends nothing.
    assert before + waiting - 4 * 50 <= accepted <= before + waiting
    assert accepted == sum(map(len, sent.values()))
    assert waiting >= 2_000
    assert [path for path in folder.iterdir() if path.suffix == ".spool"] == []
    assert "records wait in the spool" in [line["event"] for line in lines]


async def test_producers_killed_while_they_send_the_spool_send_nothing_twice(tmp_path: Path) -> None:
    """What they could not remove any more comes again, and is known by its number."""
    folder = tmp_path / "spool"
    fill(folder, runs=600)
    whole = spooled(folder)
    with EmbeddedQueue(tmp_path / "queue") as server:
        for share in (0.1, 0.3, 0.5):
            drainer = start(DRAIN, server.url, folder)
            async with asyncio.timeout(SOON), Queue(server.url) as queue:
                while sum(count.accepted for count in (await queue.counts()).values()) < share * whole:
                    await asyncio.sleep(0.002)
            drainer.send_signal(signal.SIGKILL)
            drainer.wait(10)
            assert 0 < spooled(folder) < whole
        with capture_logs():
            async with Producer(settings=settings_of(server.url, folder)) as heir:
                await heir.flush(timeout=SOON)
        sent, accepted = await found(server.url)

    assert sent == {session: [str(number) for number in range(whole // len(SESSIONS))] for session in SESSIONS}
    assert accepted == whole


def fill(folder: Path, runs: int) -> None:
    """A spool of many short runs, as a producer leaves them that has had little to do."""
    file, clock, drafts = SpoolFolder(folder, "penstock").make(), RisingClock(), []
    for number in range(runs):
        for session in SESSIONS:
            packed = encode(building.message(clock, session_id=session, role="user", content=str(number)))
            where = Partition("messages", partition_of(session, DEFAULT_PARTITIONS))
            drafts.append(Draft(where, "", 0, 1, len(packed), FAST, [session, packed]))
    file.put(drafts, DEFAULT_PARTITIONS)
    file.close()


async def test_a_damaged_file_is_set_aside_and_the_others_are_sent(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    first, second = SpoolFolder(folder, "penstock").make(), SpoolFolder(folder, "penstock").make()
    for file, session in ((first, "s0"), (second, "s1")):
        packed = encode(building.message(RisingClock(), session_id=session, role="user", content="0" * 50_000))
        where = Partition("messages", partition_of(session, DEFAULT_PARTITIONS))
        file.put([Draft(where, "", 0, 1, len(packed), FAST, [session, packed])], DEFAULT_PARTITIONS)
        file.close()
    content = bytearray(first.path.read_bytes())
    content[4_096 : 3 * 4_096] = bytes(2 * 4_096)
    first.path.write_bytes(content)
    (folder / "penstock.7.spool").write_text("notes of somebody else")

    with capture_logs() as lines, EmbeddedQueue(tmp_path / "queue") as server:
        async with Producer(settings=settings_of(server.url, folder)) as producer:
            await producer.flush(timeout=SOON)
            own = producer.message(session_id="s2", role="user", content="0")
            await own.queued(timeout=SOON)
        sent, accepted = await found(server.url)

    assert (len(sent["s1"]), len(sent["s2"]), accepted) == (1, 1, 2)
    aside = [line["kept_as"] for line in lines if line["event"].startswith("a spool is damaged")]
    assert sorted(aside) == [str(folder / f"penstock.{number}.spool.damaged-1") for number in (0, 7)]
    assert (folder / "penstock.0.spool.damaged-1").read_bytes() == content
    assert {line["log_level"] for line in lines if "damaged" in line["event"]} == {"error"}


async def test_a_file_damaged_while_it_is_in_use_costs_only_itself(tmp_path: Path) -> None:
    folder, server = tmp_path / "spool", EmbeddedQueue(tmp_path / "queue", free_port())
    with capture_logs() as lines:
        async with Producer(settings=settings_of(server.url, folder)) as producer:
            for _ in range(30):  # more than SQLite keeps in memory
                producer.message(session_id="s0", role="user", content="lost" * 100_000)
            async with asyncio.timeout(SOON):
                while producer._buffer.records:
                    await asyncio.sleep(0.01)
            (file,) = folder.glob("*.spool")
            for path in (file, Path(f"{file}-wal")):
                with path.open("r+b") as opened:
                    opened.seek(0)
                    opened.write(bytes(path.stat().st_size))
            with server:
                kept = producer.message(session_id="s1", role="user", content="kept")
                await kept.queued(timeout=SOON)
                await producer.flush(timeout=SOON)
                sent, _ = await found(server.url)

    assert sent["s1"] == ["kept"]
    assert len(sent["s0"]) < 30
    assert [line["kept_as"] for line in lines if "kept_as" in line] == [f"{file}.damaged-1"]


FULL_DISK = """
import asyncio, resource, signal, sys
from penstock.producer import Producer, ProducerSettings

async def main():
    settings = ProducerSettings(
        redis_url=sys.argv[1], spool_dir=sys.argv[2], spool_after_ms=20, retry_base_ms=5, retry_cap_ms=50
    )
    # No file of this process may grow above that: the write fails, as it does on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    async with Producer(settings=settings) as producer:
        for number in range(4_000):
            producer.message(session_id="s0", role="user", content=f"{number} " + "x" * 200)
            if number % 10 == 0:
                await asyncio.sleep(0.005)
        print("full", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await producer.flush(timeout=50)
        print(dict(producer.dropped), flush=True)

asyncio.run(main())
"""


async def test_on_a_full_disk_records_wait_in_memory_and_all_goes_on_by_itself(tmp_path: Path) -> None:
    folder, server = tmp_path / "spool", EmbeddedQueue(tmp_path / "queue", free_port())
    command = [sys.executable, "-c", FULL_DISK, server.url, str(folder)]
    producer = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert producer.stdin is not None
    assert producer.stdout is not None
    said = []
    async with asyncio.timeout(SOON):
        while (line := (await producer.stdout.readline()).decode()) != "full\n":
            said.append(line)
            assert line, said
        assert 0 < spooled(folder) < 4_000
        with server:
            producer.stdin.write(b"go on\n")
            rest = (await producer.communicate())[0].decode()
            sent, accepted = await found(server.url)

    assert producer.returncode == 0, rest
    assert "{}" in rest
    assert any("the spool cannot be used" in line for line in said)
    assert [content.split()[0] for content in sent["s0"] if content] == [str(number) for number in range(4_000)]
    assert accepted == 4_000
