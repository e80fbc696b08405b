"""Durability levels against real servers: power cuts, crashes, replicas, failovers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import BlockingProducer, NotQueued, Producer, ProducerSettings, Receipt
from penstock.wire.durability import Confirmer
from penstock.wire.entries import Confirmed, Push
from penstock.wire.errors import ConfigMismatch, PushLost, QueueUnavailable
from penstock.wire.frames import Frame
from penstock.wire.levels import FSYNC, REPLICATED
from penstock.wire.queue import Queue
from tests.system.link import linked
from tests.system.producer_support import contents
from tests.system.queue_support import NO_CAP, WHERE, Sender, everything

SOON = 20.0
SESSIONS = [f"s{number}" for number in range(5)]


def settings_of(url: str, **changes: object) -> ProducerSettings:
    changes = {"durability": "fsync", "linger_ms": 1, "retry_cap_ms": 100, **changes}
    return ProducerSettings(redis_url=url, **changes)  # type: ignore[arg-type] # the fields' types


def log_file(server: EmbeddedQueue) -> Path:
    (found,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    return found


def cut_power(server: EmbeddedQueue, keep_bytes: int) -> None:
    """The server is gone, and of its log there is what the disk had."""
    server.kill()
    log = log_file(server)
    os.truncate(log, min(keep_bytes, log.stat().st_size))
    server.start()


def send(producer: Producer, start: int, stop: int) -> list[Receipt]:
    return [
        producer.message(session_id=session, role="user", content=str(number))
        for number in range(start, stop)
        for session in SESSIONS
    ]


async def accepted(queue: Queue) -> int:
    return sum(count.accepted for count in (await queue.counts()).values())


def follow(replica: EmbeddedQueue, server: EmbeddedQueue, url: str | None = None) -> None:
    """Make a replica of *server*, reached through *url*."""
    with replica.client() as one, server.client() as other:
        other.config_set("repl-diskless-sync-delay", 0)
        one.replicaof("127.0.0.1", urlsplit(url or server.url).port)


async def has_accepted(queue: Queue, records: int) -> None:
    async with asyncio.timeout(SOON):
        while await accepted(queue) < records:
            await asyncio.sleep(0.01)


# -- the wire ------------------------------------------------------------------------------------


async def test_a_push_after_a_lost_one_is_refused_with_what_is_there(queue: Queue) -> None:
    await Sender(queue).push(1)
    before = await everything(queue)

    (refused,) = await queue.push([Push(WHERE, "p1", 4, [Frame(b"f", 1)], after=3)], NO_CAP)

    assert isinstance(refused, PushLost)
    assert refused.upto == 1
    assert await everything(queue) == before


async def test_a_push_after_one_that_is_there_is_appended_and_repeated_as_ever(queue: Queue) -> None:
    await Sender(queue).push(1)
    push = Push(WHERE, "p1", 2, [Frame(b"f", 1)], after=1)

    (first,) = await queue.push([push], NO_CAP)
    (again,) = await queue.push([push], NO_CAP)

    assert first[1] == again[1]  # type: ignore[index] # a Pushed
    assert (await queue.counts())[WHERE].accepted == 2


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_confirmation_tells_the_last_push_and_up_to_where_each_level_holds(own_server: Queue) -> None:
    await own_server.client.config_set("appendfsync", "always")
    await Sender(own_server).push(1)
    await Sender(own_server, producer_id="p2").push(1)
    confirmer = Confirmer(own_server, 2)

    assert await confirmer.confirm({WHERE: "p1"}, FSYNC) == Confirmed({WHERE: 1}, {FSYNC: {WHERE: 1}}, "")
    assert await confirmer.confirm({WHERE: "nobody"}, FSYNC) == Confirmed({WHERE: 0}, {FSYNC: {WHERE: 0}}, "")
    both = await confirmer.confirm({WHERE: "p2"}, FSYNC | REPLICATED)
    assert both.kept == {FSYNC: {WHERE: 1}, REPLICATED: {}}
    assert (both.upto(WHERE, FSYNC), both.upto(WHERE, FSYNC | REPLICATED), both.upto(WHERE, REPLICATED)) == (1, 0, 0)
    assert both.missing == (
        "the queue server has the records, but 0 of 2 replicas have answered; start more, or set replicas or "
        "durability lower"
    )


async def test_a_server_that_syncs_each_second_is_taken_at_its_word_a_second_later(own_server: Queue) -> None:
    """Its WAITAOF returns before the sync, which is begun within a second."""
    clock = Clock()
    confirmer, sender = Confirmer(own_server, 1, clock), Sender(own_server)
    found: list[int] = []
    for at_s, push in ((0.0, True), (1.1, True), (1.3, False), (2.4, False)):
        clock.now_s = at_s
        if push:
            await sender.push(1)
        found.append((await confirmer.confirm({WHERE: "p1"}, FSYNC)).upto(WHERE, FSYNC))

    assert found == [0, 0, 1, 2]


async def test_what_a_server_said_before_it_was_started_again_counts_no_more(tmp_path: Path) -> None:
    server, clock = EmbeddedQueue(tmp_path / "queue"), Clock()
    with server:
        async with Queue(server.url) as queue:
            await Sender(queue).push(1)
            confirmer = Confirmer(queue, 1, clock)
            await confirmer.confirm({WHERE: "p1"}, FSYNC)
            await asyncio.to_thread(cut_power, server, 10**9)
            await queue.client.connection_pool.disconnect()
            clock.now_s = 2.0
            assert (await confirmer.confirm({WHERE: "p1"}, FSYNC)).upto(WHERE, FSYNC) == 0
            clock.now_s = 4.0
            assert (await confirmer.confirm({WHERE: "p1"}, FSYNC)).upto(WHERE, FSYNC) == 1


async def test_a_server_without_memory_confirms(own_server: Queue) -> None:
    await own_server.client.config_set("appendfsync", "always")
    await Sender(own_server).push(1)
    await own_server.client.config_set("maxmemory", "1")

    assert (await Confirmer(own_server, 1).confirm({WHERE: "p1"}, FSYNC)).upto(WHERE, FSYNC) == 1


# -- fsync ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
async def test_a_power_cut_loses_nothing_that_was_queued_and_the_rest_is_sent_again(
    tmp_path: Path, kept: float
) -> None:
    """Of what the disk had not synced a part is there afterwards, or nothing, or all."""
    server = EmbeddedQueue(tmp_path / "queue")
    with capture_logs() as said, server:
        async with Producer(settings=settings_of(server.url)) as producer, Queue(server.url) as queue:
            for receipt in send(producer, 0, 20):
                await receipt.queued(timeout=SOON)
            safe = log_file(server).stat().st_size
            await queue.client.config_set("appendfsync", "no")  # nothing is confirmed from here on
            late = send(producer, 20, 40)
            await has_accepted(queue, 200)
            assert not any(receipt.fate for receipt in late)

            end = log_file(server).stat().st_size
            await asyncio.to_thread(cut_power, server, safe + int(kept * (end - safe)))
            newer = send(producer, 40, 50)
            await producer.flush(timeout=SOON)

            found = {session: await contents(queue, session) for session in SESSIONS}
            assert all(receipt.fate for receipt in [*late, *newer])
            assert await accepted(queue) == 250

    assert found == {session: [str(number) for number in range(50)] for session in SESSIONS}
    lost = sum(line.get("records", 0) for line in said if line["event"].startswith("queue server lost records"))
    assert lost == 100 if not kept else lost < 100


async def test_a_power_cut_that_takes_what_was_fast_takes_nothing_else(tmp_path: Path) -> None:
    server = EmbeddedQueue(tmp_path / "queue")
    with capture_logs(), server:
        async with (
            Producer(settings=settings_of(server.url, durability="fast")) as producer,
            Queue(server.url) as queue,
        ):
            synced = producer.at("fsync")
            await synced.message(session_id="s", role="user", content="0 fsync").queued(timeout=SOON)
            safe = log_file(server).stat().st_size
            await queue.client.config_set("appendfsync", "no")
            waits = synced.message(session_id="s", role="user", content="1 fsync")
            await has_accepted(queue, 2)
            await producer.message(session_id="s", role="user", content="2 fast").queued(timeout=SOON)
            assert waits.fate is None

            await asyncio.to_thread(cut_power, server, safe)
            await producer.message(session_id="s", role="user", content="3 fast").queued(timeout=SOON)
            await waits.queued(timeout=SOON)

            assert await contents(queue, "s") == ["0 fsync", "1 fsync", "3 fast"]


async def test_a_server_killed_again_and_again_loses_doubles_and_reorders_nothing(tmp_path: Path) -> None:
    server = EmbeddedQueue(tmp_path / "queue", appendfsync="always")
    with capture_logs(), server:
        async with Producer(settings=settings_of(server.url)) as producer, Queue(server.url) as queue:
            for turn in range(3):
                send(producer, turn * 50, turn * 50 + 50)
                await asyncio.sleep(0.01)
                await asyncio.to_thread(cut_power, server, 10**9)
            await producer.flush(timeout=SOON)
            found = {session: await contents(queue, session) for session in SESSIONS}
            total = await accepted(queue)

    assert found == {session: [str(number) for number in range(150)] for session in SESSIONS}
    assert total == 750


async def test_a_stream_and_a_thread_wait_for_the_disk_too(own_server: Queue) -> None:
    """A record of theirs is queued once `WAITAOF` says so: its answer is the only thing that is slow here."""
    await own_server.client.config_set("appendfsync", "no")
    settings = settings_of(own_server.scripts.url, durability="fast", namespace=own_server.keys.namespace)

    async with Producer(settings=settings) as producer:
        async with producer.at("fsync").stream(session_id="s", role="assistant") as stream:
            stream.write("tokens")
        await has_accepted(own_server, 1)
        assert stream.receipt.fate is None
        with BlockingProducer(settings=settings) as blocking:
            receipt = blocking.at("fsync").message(session_id="s", role="user", content="x")
            await has_accepted(own_server, 2)
            assert receipt.fate is None
            await own_server.client.config_set("appendfsync", "always")
            await asyncio.to_thread(receipt.queued, SOON)
        await stream.receipt.queued(timeout=SOON)


async def test_a_server_without_a_log_is_refused_at_the_start(own_server: Queue) -> None:
    await own_server.client.config_set("appendonly", "no")
    settings = settings_of(own_server.scripts.url, server_check="off")

    with capture_logs(), pytest.raises(ConfigMismatch, match=r"durability fsync: .* has appendonly no; set it to yes"):
        async with Producer(settings=settings):
            pass


async def test_a_single_call_that_cannot_be_synced_waits_and_says_why(own_server: Queue) -> None:
    await own_server.client.config_set("appendonly", "no")
    settings = settings_of(own_server.scripts.url, server_check="off", durability="fast", close_timeout_s=0.1)

    with capture_logs() as said:
        async with Producer(settings=settings) as producer:
            await producer.message(session_id="s", role="user", content="fast").queued(timeout=SOON)
            with pytest.raises(NotQueued, match="has appendonly no; set it to yes"):
                await producer.at("fsync").message(session_id="s", role="user", content="x").queued(timeout=0.5)

    assert [line["event"] for line in said][:1] == ["not durable yet; records wait"]
    assert producer.dropped == {"closed": 1}


async def test_a_claim_is_told_when_it_is_durable(own_server: Queue) -> None:
    await own_server.client.config_set("appendfsync", "always")
    async with Producer(settings=settings_of(own_server.scripts.url, durability="fast")) as producer:
        synced = producer.at("fsync")
        assert await synced.set_if_absent(key="first", value=1)
        await own_server.client.config_set("appendfsync", "no")
        with pytest.raises(QueueUnavailable, match="may or may not have been set"):
            await synced.set_if_absent(key="second", value=1, timeout=0.3)
        assert not await synced.set_if_absent(key="first", value=2)
        assert await producer.set_if_absent(key="third", value=1)


# -- with a spool --------------------------------------------------------------------------------


async def test_what_is_not_confirmed_waits_in_the_spool_and_is_not_doubled(tmp_path: Path) -> None:
    with capture_logs(), EmbeddedQueue(tmp_path / "queue", appendfsync="always") as server:
        settings = settings_of(server.url, spool_dir=str(tmp_path / "spool"), close_timeout_s=0.2)
        async with Queue(server.url) as queue:
            async with Producer(settings=settings) as producer:
                await queue.client.config_set("appendfsync", "no")
                late = send(producer, 0, 10)
                await has_accepted(queue, 50)
            assert all(isinstance(receipt.fate, NotQueued) for receipt in late)
            await queue.client.config_set("appendfsync", "always")
            async with Producer(settings=settings) as producer:
                send(producer, 10, 12)
                await producer.flush(timeout=SOON)

            assert {session: await contents(queue, session) for session in SESSIONS} == {
                session: [str(number) for number in range(12)] for session in SESSIONS
            }
            assert await accepted(queue) == 60
    assert not list((tmp_path / "spool").glob("*.spool*"))


async def test_a_power_cut_while_a_spool_is_sent_loses_and_reorders_nothing(tmp_path: Path) -> None:
    """The spool gives a run up only when it is on the server's disk."""
    server = EmbeddedQueue(tmp_path / "queue", free_port())
    settings = settings_of(server.url, spool_dir=str(tmp_path / "spool"), spool_after_ms=20, retry_base_ms=5)
    with capture_logs() as said:
        async with Producer(settings=settings) as producer:
            for start in range(0, 60, 20):  # several runs a partition
                send(producer, start, start + 20)
                while producer._buffer.records:
                    await asyncio.sleep(0.01)
            with server:
                safe = log_file(server).stat().st_size
                async with Queue(server.url) as queue:
                    await has_accepted(queue, 300)
                    assert producer._outbox.sender.lines.unsent() == 300
                    await queue.client.config_set("appendfsync", "no")
                    await asyncio.to_thread(cut_power, server, safe)
                    send(producer, 60, 70)
                    await producer.flush(timeout=SOON)
                    found = {session: await contents(queue, session) for session in SESSIONS}
                    total = await accepted(queue)

    assert found == {session: [str(number) for number in range(70)] for session in SESSIONS}
    assert total == 350
    assert sum(line["records"] for line in said if line["event"].startswith("queue server lost records")) == 300


# -- replicated ----------------------------------------------------------------------------------


async def test_what_is_replicated_waits_for_a_replica_and_is_there(tmp_path: Path) -> None:
    with EmbeddedQueue(tmp_path / "one") as first, EmbeddedQueue(tmp_path / "two") as second, capture_logs():
        settings = settings_of(first.url, durability="replicated")
        async with Producer(settings=settings) as producer, Queue(second.url) as replica:
            receipt = producer.message(session_id="s", role="user", content="0")
            with pytest.raises(NotQueued, match="0 of 1 replicas have answered"):
                await receipt.queued(timeout=1.5)
            follow(second, first)
            await receipt.queued(timeout=SOON)

            assert await contents(replica, "s") == ["0"]


async def test_a_failover_loses_nothing_that_was_queued_and_the_rest_is_sent_again(tmp_path: Path) -> None:
    with capture_logs() as said, EmbeddedQueue(tmp_path / "one") as first, EmbeddedQueue(tmp_path / "two") as second:
        async with (
            linked(first.url) as link,
            linked(first.url) as behind,
            Queue(second.url) as replica,
            Queue(first.url) as queue,
        ):
            await asyncio.to_thread(follow, second, first, behind.url)
            async with Producer(settings=settings_of(link.url, durability="replicated")) as producer:
                for receipt in send(producer, 0, 10):
                    await receipt.queued(timeout=SOON)
                behind.hearing = False  # what the replica would be told
                late = send(producer, 10, 20)
                await has_accepted(queue, 100)
                assert not any(receipt.fate for receipt in late)

                first.kill()
                await replica.client.replicaof("NO", "ONE")
                link.aim(second.url)
                await producer.at("fast").message(session_id="s0", role="user", content="20").queued(timeout=SOON)
                fates = [receipt.fate for receipt in late]

                assert await contents(replica, "s0") == [str(number) for number in range(21)]
                assert fates == [None] * 50  # the new server has no replica yet
                with EmbeddedQueue(tmp_path / "three") as last:
                    follow(last, second)
                    await producer.flush(timeout=SOON)
                found = {session: await contents(replica, session) for session in SESSIONS}

    assert found == {session: [str(number) for number in range(20 + (session == "s0"))] for session in SESSIONS}
    assert any(line["event"].startswith("queue server lost records") for line in said)
