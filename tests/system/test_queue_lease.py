"""Leases: one owner, a growing epoch, and no wake-up lost when one is given back."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock.wire.entries import Lease
from penstock.wire.errors import QueueFull
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from tests.system.queue_support import TTL_MS, WHERE, Sender, everything, expire, letter, meta, owned, settling

FAR = 2**43
"""Milliseconds: a time in the year 2248."""


async def test_lease_has_one_owner(queue: Queue) -> None:
    taken = await asyncio.gather(*(queue.acquire(WHERE, TTL_MS) for _ in range(10)))

    (lease,) = [lease for lease in taken if lease]
    assert lease == Lease(WHERE, lease.epoch, 0, 0)


async def test_epoch_rises_with_every_owner(queue: Queue) -> None:
    """Also with the clock an hour ahead when the first took it, and set right then."""
    ahead = time.time_ns() // 1_000_000 + 3_600_000
    epochs = [ahead]
    await queue.client.hset(queue.keys.meta(WHERE), "epoch", ahead)
    for _ in range(3):
        lease = await owned(queue)
        epochs.append(lease.epoch)
        await queue.release(lease)

    assert epochs == [ahead, ahead + 1, ahead + 2, ahead + 3]


async def test_epoch_is_above_the_floor_and_stays_there(queue: Queue) -> None:
    """After a failover of the queue server its own memory may be behind what the store has seen."""
    first = await queue.acquire(WHERE, TTL_MS, floor=FAR)
    assert first is not None
    await queue.release(first)

    assert first.epoch == FAR + 1
    assert (await owned(queue)).epoch == FAR + 2


async def test_floor_below_changes_nothing(queue: Queue) -> None:
    before = await owned(queue)
    await queue.release(before)

    lease = await queue.acquire(WHERE, TTL_MS, floor=1)
    assert lease is not None
    assert before.epoch < lease.epoch < FAR


async def test_lease_ends_by_itself(queue: Queue) -> None:
    first = await queue.acquire(WHERE, 20)
    assert first is not None

    async with asyncio.timeout(5):
        while (second := await queue.acquire(WHERE, TTL_MS)) is None:
            await asyncio.sleep(0.005)

    assert second.epoch > first.epoch
    assert not await queue.renew(first, TTL_MS)


async def test_renewed_lease_lives_longer(queue: Queue) -> None:
    lease = await queue.acquire(WHERE, 10_000)
    assert lease is not None

    assert await queue.renew(lease, 60_000)

    assert 10_000 < await queue.client.pttl(queue.keys.lease(WHERE)) <= 60_000


async def test_lost_lease_is_neither_renewed_nor_released(queue: Queue) -> None:
    old = await owned(queue)
    await expire(queue)
    await owned(queue)
    before = await everything(queue)

    assert not await queue.renew(old, TTL_MS)
    assert await queue.release(old) == (-1, 0)
    assert await queue.release(old, failed=True) == (-1, 0)
    assert await everything(queue) == before


async def test_expired_lease_that_nobody_took_is_lost_too(queue: Queue) -> None:
    lease = await owned(queue)
    await expire(queue)

    assert not await queue.renew(lease, TTL_MS)
    assert await queue.release(lease) == (-1, 0)


async def test_owners_that_die_on_one_head_are_counted(queue: Queue) -> None:
    await Sender(queue).push(1, 1)
    stalls = []
    for _ in range(3):
        stalls.append((await owned(queue)).stall)
        await expire(queue)

    assert stalls == [0, 1, 2]


async def test_progress_ends_the_count_of_deaths(queue: Queue) -> None:
    await Sender(queue).push(1, 1)
    await owned(queue)
    await expire(queue)
    second = await owned(queue)
    assert second.stall == 1

    await queue.commit(settling(second, await queue.read(WHERE, 1)))
    await expire(queue)

    assert (await owned(queue)).stall == 1  # a death on the new head
    assert (await meta(queue))["stall"] == "1"


async def test_owner_that_gives_back_is_no_death(queue: Queue) -> None:
    await Sender(queue).push(1)
    for failed in (False, True, False):
        await queue.release(await owned(queue), failed=failed)

    assert (await owned(queue)).stall == 0


async def test_owner_that_dies_on_an_empty_log_is_no_stall(queue: Queue) -> None:
    await owned(queue)
    await expire(queue)

    assert (await owned(queue)).stall == 0


async def test_failures_are_counted_until_something_is_settled(queue: Queue) -> None:
    await Sender(queue).push(1, 1)
    failures = [await queue.release(await owned(queue), failed=True) for _ in range(3)]
    assert failures == [(0, 1), (0, 2), (0, 3)]

    lease = await owned(queue)
    assert lease.fails == 3
    await queue.commit(settling(lease, await queue.read(WHERE, 1)))

    assert await queue.release(lease, failed=True) == (0, 1)


async def test_release_of_an_empty_partition_disarms_it(queue: Queue) -> None:
    sender = Sender(queue)
    assert (await sender.push(1)).generation == 1
    lease = await owned(queue)
    await queue.commit(settling(lease, await queue.read(WHERE, 10)))

    assert await queue.release(lease) == (0, 0)

    assert (await sender.push(1)).generation == 2


async def test_release_with_records_left_rings_on(queue: Queue) -> None:
    sender = Sender(queue)
    await sender.push(1)

    assert await queue.release(await owned(queue)) == (2, 0)

    assert (await sender.push(1)).generation == 0


async def test_failed_release_leaves_the_partition_armed_for_its_caller(queue: Queue) -> None:
    sender = Sender(queue)
    await sender.push(1)

    await queue.release(await owned(queue), failed=True)

    assert (await sender.push(1)).generation == 0


@pytest.mark.parametrize("pushers", [1, 4])
async def test_no_wake_up_is_lost_between_pushes_and_releases(queue: Queue, pushers: int) -> None:
    """Drainers act on rings alone, nothing sweeps: one lost ring and the records lie there for good."""
    rings: asyncio.Queue[int] = asyncio.Queue()
    settled, wanted = 0, pushers * 60

    async def push(number: int) -> None:
        sender = Sender(queue, producer_id=f"p{number}")
        for _ in range(60):
            if generation := (await sender.push(1)).generation:
                rings.put_nowait(generation)

    async def drain() -> None:
        nonlocal settled
        while settled < wanted:
            await rings.get()
            lease = await queue.acquire(WHERE, TTL_MS)
            if lease is None:  # its owner's release sees what came
                continue
            if entries := await queue.read(WHERE, 5):
                assert await queue.commit(settling(lease, entries))
                settled += len(entries)
            if generation := (await queue.release(lease))[0]:
                rings.put_nowait(generation)
        rings.put_nowait(0)  # let the other one see it

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for number in range(pushers):
            tasks.create_task(push(number))
        tasks.create_task(drain())
        tasks.create_task(drain())

    assert settled == wanted


async def test_every_generation_is_given_once(queue: Queue) -> None:
    given = []
    sender = Sender(queue)
    for _ in range(5):
        given.append((await sender.push(1)).generation)
        lease = await owned(queue)
        given.append((await queue.release(lease))[0])
        await queue.commit(settling(lease := await owned(queue), await queue.read(WHERE, 10)))
        given.append((await queue.release(lease))[0])

    given = [generation for generation in given if generation]
    assert given == sorted(set(given))


# -- what the sweeper asks ----------------------------------------------------------------------


async def test_partition_with_records_and_no_owner_needs_a_drain(queue: Queue) -> None:
    other = Partition("logs", 2)
    await Sender(queue).push(1)
    await Sender(queue, other).push(1)
    await owned(queue, other)

    assert await queue.needing(queue.all_partitions(), 0) == [(WHERE, 1)]


async def test_partition_whose_owner_died_needs_a_drain(queue: Queue) -> None:
    await Sender(queue).push(1)
    await owned(queue)
    assert await queue.needing([WHERE], 0) == []

    await expire(queue)

    assert await queue.needing([WHERE], 0) == [(WHERE, 1)]


async def test_lost_ring_is_rung_again_by_one(queue: Queue) -> None:
    await Sender(queue).push(1)

    taken = await asyncio.gather(*(queue.rearm(WHERE, 1) for _ in range(5)))

    assert sorted(taken) == [0, 0, 0, 0, 2]


async def test_owned_partition_is_not_rung_again(queue: Queue) -> None:
    await Sender(queue).push(1)
    await owned(queue)

    assert await queue.rearm(WHERE, 1) == 0


async def test_partition_that_never_had_a_generation_can_be_armed(queue: Queue) -> None:
    assert await queue.rearm(WHERE, 0) == 1
    assert (await Sender(queue).push(1)).generation == 0


async def test_full_server_is_still_drained(own_server: Queue) -> None:
    """What makes room must not need room, dead letters included."""
    queue = own_server
    sender = Sender(queue)
    await sender.push(1)
    await sender.push(1)
    await queue.client.config_set("maxmemory", 1)

    with pytest.raises(QueueFull, match=r"no memory left \(maxmemory\)"):
        await sender.push(1)
    assert await queue.rearm(WHERE, 1) == 2
    lease = await owned(queue)
    assert await queue.renew(lease, TTL_MS)
    assert await queue.commit(settling(lease, await queue.read(WHERE, 1), dead=1, letters=[letter("id-1")]))
    assert await queue.release(lease) == (3, 0)
    assert (await queue.counts())[WHERE].balanced


async def test_worker_can_start_and_live_on_a_full_server(own_server: Queue) -> None:
    """A worker is what empties it."""
    await own_server.client.config_set("maxmemory", 1)

    async with Queue(own_server.scripts.url, own_server.keys.namespace) as queue:
        assert await queue.heartbeat("worker-1", TTL_MS) == 1
        assert await queue.workers() == ["worker-1"]
