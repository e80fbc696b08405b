"""A lane whose store is away: it pauses as a whole, costs no record anything, and goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.stores.contract import Store
from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.testing.system import System
from penstock.wire.entries import Push
from penstock.wire.frames import Frame
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record
from penstock.wire.tasks import end_task
from penstock.worker.drain import LaneWaits, drain
from penstock.worker.gatekeeper import Gatekeeper
from penstock.worker.lanes import LanePaused
from penstock.worker.site import Site
from tests.conformance.postgres_server import Postgres, Schema
from tests.system.command import penstock
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total

OTHER = Partition("messages", 5)


class Outage:
    """A store that is away while `on`, and says so to whoever asks."""

    def __init__(self) -> None:
        self.on = True
        self.store = ListStore(before=self._fail)
        self.store.check = self._check  # type: ignore[method-assign] # as a server that is gone

    def _fail(self, _: Sequence[Record]) -> None:
        if self.on:
            raise StoreUnavailable("no route to host")

    async def _check(self) -> None:
        self._fail([])


async def put_off(site: Site, partition: Partition = MESSAGES) -> str:
    with pytest.raises(LanePaused) as caught:
        await drain(site, partition)
    return str(caught.value)


def refusing(content: str, error: Exception) -> Callable[[Sequence[Record]], None]:
    def before(records: Sequence[Record]) -> None:
        if any(isinstance(record, Message) and record.content == content for record in records):
            raise error

    return before


async def test_while_it_is_shut_no_drain_takes_a_lease_asks_the_store_or_counts(queue: Queue) -> None:
    tries = 0

    def away(_: Sequence[Record]) -> None:
        nonlocal tries
        tries += 1
        raise StoreUnavailable("no route to host")

    sender = Sender(queue)
    await sender.push(sender.message())
    site = site_of(queue, ListStore(before=away))

    for _ in range(5):
        assert await put_off(site) == "messages is paused: no route to host"
    await put_off(site, OTHER)

    assert tries == 1
    counts = await total(queue)
    assert (counts.pending, counts.leased, counts.balanced) == (1, 0, True)
    lease = await queue.acquire(MESSAGES, 1_000)
    assert lease is not None
    assert (lease.fails, lease.stall) == (0, 0)


async def test_other_lanes_go_on(queue: Queue) -> None:
    outage = Outage()
    sender, elsewhere = Sender(queue), Sender(queue, Partition("logs", 0))
    await sender.push(sender.message())
    await elsewhere.push(elsewhere.message())
    site = site_of(queue, outage.store)
    await put_off(site)
    outage.on = False

    moved = await drain(site, Partition("logs", 0))

    assert moved is not None
    assert moved.stored == 1
    await put_off(site)


async def test_a_small_batch_goes_ahead_and_then_all_partitions_are_rung(queue: Queue) -> None:
    outage = Outage()
    senders = [Sender(queue, Partition("messages", number)) for number in range(4)]
    for sender in senders:
        for _ in range(30):
            await sender.push(*(sender.message() for _ in range(10)))
    site = site_of(queue, outage.store)
    keeper = Gatekeeper(site, "messages")
    await put_off(site)
    await keeper.probe()
    assert site.lanes["messages"].gate.is_shut.is_set()
    assert outage.store.writes == []

    outage.on = False
    await keeper.probe()

    assert not site.lanes["messages"].gate.is_shut.is_set()
    assert [len(batch) for batch in outage.store.writes] == [100]
    rung = {(await _rung(queue))[0] for _ in senders}
    assert rung == {sender.partition for sender in senders}
    for sender in senders:
        await drain(site, sender.partition)
    assert (await total(queue)).stored == 1_200


async def test_a_canary_that_is_not_written_leaves_the_gate_shut(queue: Queue) -> None:
    """A locked SQLite file answers every question and takes no write."""
    outage = Outage()
    outage.store.check = ListStore.check.__get__(outage.store)  # type: ignore[method-assign]
    sender = Sender(queue)
    await sender.push(sender.message())
    site = site_of(queue, outage.store)
    await put_off(site)

    await Gatekeeper(site, "messages").probe()

    assert site.lanes["messages"].gate.is_shut.is_set()
    assert (await total(queue)).leased == 0
    lease = await queue.acquire(MESSAGES, 1_000)
    assert lease is not None
    assert lease.fails == 0


async def test_a_batch_that_alone_cannot_be_written_keeps_the_others_waiting_for_a_moment_only(queue: Queue) -> None:
    store = ListStore(before=refusing("slow", StoreUnavailable("statement timeout")))
    sender, other = Sender(queue), Sender(queue, OTHER)
    await sender.push(sender.message("slow"))
    await other.push(other.message("fine"))
    site = site_of(queue, store)
    keeper, gate = Gatekeeper(site, "messages"), site.lanes["messages"].gate

    await put_off(site)
    await keeper.probe()
    assert gate.is_shut.is_set(), "its own batch was tried first"
    await keeper.probe()
    assert not gate.is_shut.is_set(), "that of another was written"
    for failures in (1, 2):
        with pytest.raises(LaneWaits) as caught:
            await drain(site, MESSAGES)
        assert caught.value.failures == failures
        assert not gate.is_shut.is_set()
    await other.push(other.message("fine"))
    await drain(site, OTHER)

    assert len(store.rows) == 2


async def test_a_frame_that_only_a_newer_worker_reads_does_not_open_the_gate(queue: Queue) -> None:
    """It never came to the store, which may be away still."""
    outage, sender = Outage(), Sender(queue, OTHER)
    outage.store.check = ListStore.check.__get__(outage.store)  # type: ignore[method-assign]
    await sender.push(sender.message())
    site = site_of(queue, outage.store)
    keeper, gate = Gatekeeper(site, "messages"), site.lanes["messages"].gate
    await put_off(site, OTHER)
    await queue.push([Push(MESSAGES, "q", 1, [Frame(b"\x03\x90", 1)])], 100)

    for _ in range(2):
        await keeper.probe()
        assert gate.is_shut.is_set()
    outage.on = False
    await keeper.probe()

    assert not gate.is_shut.is_set()
    assert (await total(queue)).stored == 1


async def test_a_store_that_cannot_be_set_up_pauses_its_lane(queue: Queue) -> None:
    """A schema that is newer than the worker, say: no batch would be taken, whatever it holds."""
    sender = Sender(queue)
    await sender.push(sender.message())
    site = site_of(queue, ListStore())
    ready = site.stores.of

    async def refuse(lane: str) -> Store:
        raise StoreRejected("the schema is of a newer release")

    site.stores.of = refuse  # type: ignore[method-assign] # as `Stores.of` raises what `setup` does
    assert "the schema is of a newer release" in await put_off(site)
    await Gatekeeper(site, "messages").probe()
    assert site.lanes["messages"].gate.is_shut.is_set()

    site.stores.of = ready  # type: ignore[method-assign] # upgraded
    await Gatekeeper(site, "messages").probe()

    assert (await total(queue)).stored == 1


async def test_an_outage_is_there_to_be_seen_while_it_lasts(queue: Queue) -> None:
    outage, sender = Outage(), Sender(queue)
    await sender.push(sender.message())
    site = site_of(queue, outage.store, probe_cap_ms=100)
    pauses = site.lanes.pauses
    async with _kept(Gatekeeper(site, "messages")):
        await put_off(site)
        seen = await _until(lambda: pauses.outages(["w1"]))
        assert [(each.lane, each.worker, each.reason) for each in seen] == [("messages", "w1", "no route to host")]
        outage.on = False
        await _until(lambda: _none(pauses.outages(["w1"])))

    assert (await total(queue)).stored == 1


async def test_a_lane_of_which_nothing_is_left_opens_when_the_store_answers(queue: Queue) -> None:
    """Another worker, whose store was there, has drained it."""
    outage, sender = Outage(), Sender(queue)
    await sender.push(sender.message())
    site = site_of(queue, outage.store)
    await put_off(site)
    await drain(site_of(queue, ListStore()), MESSAGES)

    outage.on = False
    await Gatekeeper(site, "messages").probe()

    assert not site.lanes["messages"].gate.is_shut.is_set()
    assert outage.store.writes == []


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> Iterator[System]:
    whole = System(tmp_path, queue_server)
    whole.settings["PENSTOCK_SQL_URL"] = f"sqlite:///{whole.database}?busy_timeout_ms=100"
    whole.settings["PENSTOCK_PROBE_CAP_MS"] = "1000"
    try:
        yield whole
    finally:
        whole.stop()


async def test_a_locked_database_pauses_its_lanes_and_no_other(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    system.start_worker()
    async with system.producer() as producer:
        await producer.message(session_id="s", role="user", content="first").stored(timeout=30)
        stranger = sqlite3.connect(system.database, isolation_level=None)
        stranger.execute("BEGIN EXCLUSIVE")
        for number in range(400):
            producer.message(session_id=f"s{number}", role="user", content=str(number))
        await producer.flush(until="queued", timeout=20)
        await _until(lambda: _is_paused(system, "messages"))

        embedding = producer.embedding(collection="c", id="e", vector=[0.1, 0.2])
        await embedding.stored(timeout=20)
        told = await penstock(capsys, "status", *_place(system))
        assert "messages: paused " in told.out
        assert "the store is away: database is locked" in told.out
        await _probed(system, 4)
        assert (await system.counts()).dead == 0

        stranger.execute("ROLLBACK")
        stranger.close()
        began = time.monotonic()
        await producer.flush(until="stored", timeout=20)
        took = time.monotonic() - began

    assert took < 4, "a probe comes within 1 s, and the backlog is drained at once then"
    assert sum(map(len, system.contents().values())) == 401
    async with Queue(system.server.url, system.namespace) as queue:
        fails = [await queue.client.hget(queue.keys.meta(where), "fails") for where in queue.all_partitions()]
    assert {int(count or 0) for count in fails} == {0}
    _one_line_each(system, "messages")


async def test_a_database_that_restarts_costs_its_lanes_a_pause(
    system: System, postgres: Postgres, schema: Schema
) -> None:
    system.settings["PENSTOCK_SQL_URL"] = schema.url
    system.start_worker()
    async with system.producer() as producer:
        await producer.message(session_id="s", role="user", content="first").stored(timeout=30)
        postgres.stop()
        try:
            for number in range(400):
                producer.message(session_id=f"s{number}", role="user", content=str(number))
                producer.log(level="info", event="sent", agent_id="a", data={})
            await producer.flush(until="queued", timeout=20)
            await _until(lambda: _is_paused(system, "messages"))
            await _until(lambda: _is_paused(system, "logs"))
        finally:
            postgres.start()
        began = time.monotonic()
        await producer.flush(until="stored", timeout=20)
        took = time.monotonic() - began

    assert took < 4
    assert (len(schema.messages()), len(schema.logs())) == (401, 400)
    counts = await system.counts()
    assert (counts.dead, counts.balanced) == (0, True)
    _one_line_each(system, "messages")
    _one_line_each(system, "logs")


async def test_a_worker_whose_store_is_there_goes_on_for_one_whose_store_is_not(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    own = system.settings["PENSTOCK_SQL_URL"]
    system.settings["PENSTOCK_SQL_URL"] = "sqlite:////dev/null/none.db"
    system.start_worker()
    await system.workers_alive(1)
    async with system.producer() as producer:
        for number in range(400):
            producer.message(session_id=f"s{number}", role="user", content=str(number))
        await producer.flush(until="queued", timeout=20)
        await _until(lambda: _is_paused(system, "messages"))
        system.settings["PENSTOCK_SQL_URL"] = own
        system.start_worker()
        await system.workers_alive(2)
        await producer.flush(until="stored", timeout=30)
        told = await penstock(capsys, "status", *_place(system))

    assert sum(map(len, system.contents().values())) == 400
    assert "messages: paused at 1 of 2 workers " in told.out


async def test_a_worker_that_is_stopped_while_its_store_is_away_ends_at_once(system: System) -> None:
    worker = system.start_worker()
    async with system.producer() as producer:
        await producer.message(session_id="s", role="user", content="first").stored(timeout=30)
        with contextlib.closing(sqlite3.connect(system.database, isolation_level=None)) as stranger:
            stranger.execute("BEGIN EXCLUSIVE")
            producer.message(session_id="s", role="user", content="second")
            await producer.flush(until="queued", timeout=20)
            await _until(lambda: _is_paused(system, "messages"))
            began = time.monotonic()
            worker.terminate()
            code = await asyncio.to_thread(worker.wait, 10)

    assert code == 0
    assert time.monotonic() - began < 2
    assert (await system.counts()).leased == 0


async def _rung(queue: Queue) -> tuple[Partition, int]:
    rung = await queue.heard(5)
    assert rung is not None
    return rung


async def _until(look: Callable[[], Any], timeout_s: float = 20) -> Any:
    """What *look* finds, as soon as it finds anything."""
    async with asyncio.timeout(timeout_s):
        while not (found := await look()):
            await asyncio.sleep(0.02)
    return found


async def _none(found: Any) -> bool:
    return not await found


@contextlib.asynccontextmanager
async def _kept(keeper: Gatekeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.keep())
    try:
        yield
    finally:
        await end_task(task)  # cancelled once, it may live on: redis-py can swallow that


def _place(system: System) -> tuple[str, ...]:
    return "--redis-url", system.server.url, "--namespace", system.namespace


async def _is_paused(system: System, lane: str) -> bool:
    async with Queue(system.server.url, system.namespace) as queue:
        return bool([name async for name in queue.client.scan_iter(queue.keys.outage(lane, "*"))])


async def _probed(system: System, times: int) -> None:
    """Wait until the outage was told that often with another time of the next probe."""
    seen = set()

    async def look() -> bool:
        async with Queue(system.server.url, system.namespace) as queue:
            async for name in queue.client.scan_iter(queue.keys.outage("messages", "*")):
                seen.add(await queue.client.get(name))
        return len(seen) >= times

    await _until(look)


def _one_line_each(system: System, lane: str) -> None:
    """One line when the lane pauses, one when it goes on, and none for each partition and try."""
    lines = [json.loads(line) for line in (system.folder / "worker-0.log").read_text().splitlines()]
    told = [line["event"] for line in lines if line.get("lane") == lane]
    assert (told[0], told[-1]) == ("lane paused", "lane goes on")
    assert set(told[1:-1]) <= {"lane still paused"}
    assert len(told) <= 5
    assert "lane waits" not in {line["event"] for line in lines}
