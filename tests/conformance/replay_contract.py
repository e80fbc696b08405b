"""A replayed letter against a store that has moved on: what is newer stays, of every kind and in every store."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import dlq
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.records import Backend, log, message
from penstock.testing.conformance.state_records import (
    agent_state,
    context,
    deleted,
    forgotten,
    hidden,
    key_value,
    task,
    task_status,
)
from penstock.testing.conformance.vector_records import deletion, embedding
from penstock.testing.conformance.vectors import VectorStoreConformance
from penstock.wire.ids import format_id
from penstock.wire.queue import Queue
from penstock.wire.records import Record
from tests.system.drain_support import drain_all, total
from tests.system.letter_support import bury_records

MOVED_ON: dict[str, tuple[list[Record], Record]] = {
    "a message of its id": ([message(0)], message(0)._replace(content="late")),
    "a higher version": ([message(0)._replace(version=5)], message(0)._replace(version=4, content="late")),
    "the same version": ([message(0)._replace(version=5)], message(0)._replace(version=5, content="late")),
    "a deleted message": ([message(0), hidden(9, 0)], message(0)._replace(content="late")),
    "a deleted session": ([message(0), forgotten(9), message(10)], message(1)),
    "a later deletion of the session": ([message(0), forgotten(9), message(10)], forgotten(8)),
    "a message deleted before": ([message(0), hidden(8, 0)], hidden(9, 0)),
    "a log event of its id": ([log(0)], log(0, message="late")),
    "a later save of the task": ([task(5)], task(4)),
    "a later status of the task": ([task(1), task_status(5)], task_status(4, "late")),
    "a later state of the agent": ([agent_state(5)], agent_state(4)),
    "a later context": ([context(5)], context(4)),
    "a later value": ([key_value(5)], key_value(4)),
    **{
        f"a deleted {make.__name__}": ([make(1), deleted(9, make(1))], make(5))
        for make in (task, agent_state, context, key_value)
    },
}


def everything(backend: Backend) -> tuple[Any, ...]:
    """All that the place holds."""
    states = sorted(backend.states(), key=repr)
    return sorted(backend.messages()), sorted(backend.logs()), backend.counts(), list(backend.chunks()), states


class ReplayConformance:
    """Every SQL store passes every test here, unchanged. `backend` is that of `SqlStoreConformance`."""

    @pytest.mark.parametrize(("stored", "late"), MOVED_ON.values(), ids=MOVED_ON)
    async def test_a_replay_never_replaces_what_is_newer(
        self, backend: Backend, queue: Queue, stored: list[Record], late: Record
    ) -> None:
        await bury_records(queue, [late])
        await backend.store.write(stored)
        before = everything(backend)

        (trial,) = await backend.store.rehearse([late])
        await dlq.replay(queue)
        await drain_all(queue, backend.store)

        assert everything(backend) == before
        assert not trial.is_new
        assert await dlq.find(queue, format_id(late.id)) is None
        assert (await total(queue)).balanced

    async def test_a_replay_takes_its_place_among_what_came_after_it(self, backend: Backend, queue: Queue) -> None:
        await bury_records(queue, [message(1), task(3, "other")])
        await backend.store.write([message(0), message(2), task(9)])

        await dlq.replay(queue)
        await drain_all(queue, backend.store)

        rows = sorted(backend.messages(), key=lambda each: each.created_at_us)
        assert rows == [message(0), message(1), message(2)]
        assert {row[3] for row in backend.states()} == {"t", "other"}


class VectorReplayConformance(VectorStoreConformance):
    """The contract of a vector store, and what becomes of letters replayed into it."""

    async def test_a_replayed_letter_never_replaces_a_later_embedding(self, store: VectorStore, queue: Queue) -> None:
        await bury_records(queue, [embedding("a", at_us=4, text="late"), embedding("b", at_us=4, text="new")])
        await store.write([embedding("a", at_us=5, text="now")])

        await dlq.replay(queue)
        await drain_all(queue, store)

        rows = await self.stored(store, "docs")
        assert {key: (row.text, row.version) for key, row in rows.items()} == {"a": ("now", 5), "b": ("new", 4)}
        assert (await total(queue)).balanced

    async def test_a_replayed_letter_does_not_bring_back_what_was_deleted(
        self, store: VectorStore, queue: Queue
    ) -> None:
        await bury_records(queue, [embedding("a", at_us=4), deletion("b", at_us=4), deletion("c", at_us=9)])
        await store.write([embedding("b", at_us=5), embedding("c", at_us=5), deletion("a", at_us=5)])

        await dlq.replay(queue)
        await drain_all(queue, store)

        assert sorted(await self.stored(store, "docs")) == ["b"]
        assert (await total(queue)).balanced
