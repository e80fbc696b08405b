"""One poll for all who wait for the store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from penstock.producer.errors import ProducerClosed
from penstock.producer.receipt import Placed
from penstock.producer.tracker import Tracker
from penstock.wire.errors import QueueUnavailable
from penstock.wire.inquiry import Answer, Buried, Inquiry
from penstock.wire.keys import Partition
from penstock.wire.tasks import end_task

A, B = Partition("messages", 0), Partition("logs", 1)


BAD = Buried("letter", {"reason": "no"})


class FakeSettled:
    """Answers with what `done`, `dead` and `held` say; each poll sets `asked`."""

    def __init__(self) -> None:
        self.looks: list[list[Partition]] = []
        self.done: dict[Partition, str] = {}
        self.dead: dict[str, Buried] = {}
        self.held: set[str] = set()
        self.polls: list[dict[Partition, list[str]]] = []
        self.errors: list[Exception] = []
        self.asked = asyncio.Event()

    async def settled_upto(self, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
        self.looks.append(list(partitions))
        self.asked.set()
        if self.errors:
            raise self.errors.pop()
        return {where: self.done.get(where, "0-0") for where in partitions}

    async def settled(self, wanted: Mapping[Partition, Sequence[Inquiry]]) -> Mapping[Partition, Answer]:
        self.polls.append({where: [one.record_id for one in inquiries] for where, inquiries in wanted.items()})
        return {where: self._answer(where, inquiries) for where, inquiries in wanted.items()}

    def _answer(self, where: Partition, inquiries: Sequence[Inquiry]) -> Answer:
        ids = [one.record_id for one in inquiries]
        buried = {number: self.dead[one] for number, one in enumerate(ids) if one in self.dead}
        held = frozenset(number for number, one in enumerate(ids) if one in self.held)
        return Answer(self.done.get(where, "0-0"), buried, held)

    async def next_poll(self) -> None:
        self.asked.clear()
        await asyncio.wait_for(self.asked.wait(), 10)


def at(entry_id: str, partition: Partition = A) -> Placed:
    return Placed(partition, entry_id, 0)


async def test_a_wait_ends_when_its_place_is_settled_and_not_before() -> None:
    queue = FakeSettled()
    tracker = Tracker(queue)
    waits = [asyncio.create_task(tracker.settled(at(place), "r")) for place in ("9-1", "10-0", "10-1")]
    await queue.next_poll()

    queue.done[A] = "10-0"
    await asyncio.gather(*waits[:2])

    assert not waits[2].done()
    queue.done[A] = "11-0"
    assert await waits[2] is None


async def test_no_record_is_asked_for_before_workers_have_come_as_far() -> None:
    queue = FakeSettled()
    tracker = Tracker(queue)
    wait = asyncio.create_task(tracker.settled(at("5-0"), "late"))
    await queue.next_poll()
    await queue.next_poll()

    assert queue.polls == []
    queue.done[A] = "5-0"
    await wait
    assert queue.polls == [{A: ["late"]}]


async def test_a_dead_record_gets_its_envelope_and_its_neighbour_none() -> None:
    queue = FakeSettled()
    queue.done, queue.dead = {A: "5-0"}, {"bad": BAD}
    tracker = Tracker(queue)

    found = await asyncio.gather(tracker.settled(at("5-0"), "bad"), tracker.settled(at("5-0"), "good"))

    assert list(found) == [BAD, None]


async def test_what_is_held_back_is_waited_for_after_its_place_was_settled() -> None:
    queue = FakeSettled()
    queue.done, queue.held = {A: "9-0"}, {"with a gap"}
    tracker = Tracker(queue)
    wait = asyncio.create_task(tracker.settled(at("5-0"), "with a gap"))
    await tracker.settled(at("5-0"), "whole")
    await queue.next_poll()

    assert not wait.done()
    queue.held.clear()
    assert await wait is None


async def test_those_held_back_do_not_stand_before_the_others() -> None:
    queue = FakeSettled()
    queue.done, queue.held = {A: "9-0"}, {f"held {n}" for n in range(300)}
    tracker = Tracker(queue)
    waits = [asyncio.create_task(tracker.settled(at("1-0"), name)) for name in queue.held]

    assert await asyncio.wait_for(tracker.settled(at("5-0"), "free"), 5) is None

    assert not any(wait.done() for wait in waits)
    await tracker.close()
    await asyncio.wait(waits)
    assert {type(wait.exception()) for wait in waits} == {ProducerClosed}


async def test_a_wait_for_a_place_alone_asks_for_no_record() -> None:
    queue = FakeSettled()
    queue.done, queue.dead = {A: "5-0"}, {"bad": BAD}
    tracker = Tracker(queue)

    found = await asyncio.gather(tracker.settled(at("4-0"), None), tracker.settled(at("5-0"), "bad"))

    assert list(found) == [None, BAD]
    assert queue.polls == [{A: ["bad"]}]


async def test_all_who_wait_share_one_poll_and_none_is_made_for_nobody() -> None:
    queue = FakeSettled()
    queue.done = {A: "5-0", B: "5-0"}
    tracker = Tracker(queue)

    places = [at("1-0"), at("2-0"), at("1-0", B)]
    await asyncio.gather(*(tracker.settled(place, f"r{n}") for n, place in enumerate(places)))
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))

    assert queue.polls == [{A: ["r0", "r1"], B: ["r2"]}]


async def test_one_call_looks_up_at_most_so_many_records_and_the_next_the_others() -> None:
    queue = FakeSettled()
    queue.done = {A: "999-0"}
    tracker = Tracker(queue)

    await asyncio.gather(*(tracker.settled(at(f"{n}-0"), f"r{n}") for n in reversed(range(600))))

    assert [len(poll[A]) for poll in queue.polls] == [256, 256, 88]
    assert queue.polls[0][A][0] == "r0"


async def test_waits_that_were_given_up_are_forgotten() -> None:
    queue = FakeSettled()
    tracker = Tracker(queue)
    impatient = asyncio.create_task(tracker.settled(at("5-0"), "impatient"))
    elsewhere = asyncio.create_task(tracker.settled(at("5-0", B), "elsewhere"))
    patient = asyncio.create_task(tracker.settled(at("4-0"), "patient"))
    await queue.next_poll()

    impatient.cancel()
    elsewhere.cancel()
    await queue.next_poll()
    await queue.next_poll()

    assert queue.looks[-1] == [A]
    queue.done[A] = "5-0"
    await patient
    assert queue.polls == [{A: ["patient"]}]


async def test_a_queue_that_is_away_is_asked_again() -> None:
    queue = FakeSettled()
    queue.errors, queue.done = [QueueUnavailable("away")], {A: "5-0"}

    assert await Tracker(queue).settled(at("5-0"), "r") is None
    assert len(queue.looks) == 2


async def test_a_task_ends_though_it_swallows_a_cancellation() -> None:
    swallowed = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(1)
                if len(swallowed) == 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)

    await end_task(task)

    assert task.cancelled()


async def test_a_task_has_ended_also_when_whoever_ended_it_was_cancelled() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            begun.set()
            await asyncio.wait((asyncio.create_task(ended.wait()),))

    async def outer() -> None:
        inner = asyncio.create_task(slow())
        await asyncio.sleep(0)
        try:
            await end_task(inner)
        finally:
            assert inner.done()

    task = asyncio.create_task(outer())
    await begun.wait()
    task.cancel()
    asyncio.get_running_loop().call_soon(ended.set)

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_tells_those_who_wait() -> None:
    queue = FakeSettled()
    tracker = Tracker(queue)
    wait = asyncio.create_task(tracker.settled(at("5-0"), "r"))
    await queue.next_poll()

    await tracker.close()

    with pytest.raises(ProducerClosed):
        await wait
    with pytest.raises(ProducerClosed):
        await tracker.settled(at("5-0"), "r")
