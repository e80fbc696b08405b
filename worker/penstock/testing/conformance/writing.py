"""What every SQL store does with what is written to it, and how it lives."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.stores.contract import Fence, SqlStore
from penstock.stores.errors import StaleOwner, StoreRejected, StoreUnavailable
from penstock.stores.queries import MessageQuery
from penstock.testing.conformance.records import START_US, Backend, chunk, counted, embedding, log, message
from penstock.wire.records import Message


class WritingConformance(ABC):
    """A part of `SqlStoreConformance`."""

    @abstractmethod
    def fresh(self) -> AbstractAsyncContextManager[Backend]:
        """See `SqlStoreConformance.fresh`."""

    # Writing

    async def test_what_is_written_is_there(self, backend: Backend) -> None:
        new = await backend.store.write([message(0), log(0), chunk(0)])

        assert new == 3
        assert backend.messages() == [message(0)]
        assert backend.logs() == [log(0)]

    async def test_an_empty_batch_is_nothing_new(self, store: SqlStore) -> None:
        assert await store.write([]) == 0

    async def test_the_first_write_of_an_id_wins(self, backend: Backend) -> None:
        await backend.store.write([message(0), log(0)])

        assert await backend.store.write([message(0)._replace(content="other"), log(0, message="other")]) == 0
        assert backend.messages() == [message(0)]
        assert backend.logs() == [log(0)]

    async def test_an_id_that_comes_again_under_another_session_makes_no_session(self, backend: Backend) -> None:
        await backend.store.write([message(0, "first")])

        await backend.store.write([message(0, "second"), message(1, "third")])
        await backend.store.write([message(2, "third")])

        kept = [message(0, "first"), message(1, "third"), message(2, "third")]
        assert backend.messages() == kept
        assert backend.counts() == counted(kept)
        assert await backend.store.session("second") is None

    async def test_an_id_twice_in_one_batch_counts_once(self, backend: Backend) -> None:
        new = await backend.store.write([message(0), message(1), message(0), chunk(0), chunk(0), log(0), log(0)])

        assert new == 4
        assert backend.counts() == counted([message(0), message(1)])

    # One test for several backends is the point of a contract, not an accident.
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(
        deliveries=st.lists(
            st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 0, 0, 1, 2])), max_size=6), max_size=6
        )
    )
    def test_redelivery_in_any_order_keeps_rows_and_counters_exact(
        self, deliveries: list[list[tuple[int, int]]]
    ) -> None:
        """Each delivery is a batch of (message number, version)."""
        asyncio.run(self._deliver(deliveries))

    async def _deliver(self, deliveries: list[list[tuple[int, int]]]) -> None:
        model: dict[int, Message] = {}
        taken = new = 0
        async with self.fresh() as backend:
            for batch in deliveries:
                sent = [message(n, f"s{n % 3}")._replace(content=f"{n} v{v}", version=v) for n, v in batch]
                new += await backend.store.write(sent)
                for (number, version), each in zip(batch, sent, strict=True):
                    if number not in model or version > model[number].version:
                        model[number] = each
                        taken += 1
            assert new == taken
            assert sorted(backend.messages()) == sorted(model.values())
            assert backend.counts() == counted(list(model.values()))

    async def test_a_higher_version_replaces_and_a_lower_or_equal_one_does_not(self, backend: Backend) -> None:
        part = message(0)._replace(content="par", state="streaming", version=2)
        whole = message(0)._replace(content="part", state=None, version=4, metadata=b'{"a":1}', user_id="u")
        store = backend.store

        new = [await store.write([each]) for each in (part, whole, part, whole._replace(content="not newer"))]

        assert new == [1, 1, 0, 0]
        assert backend.messages() == [whole]
        assert backend.counts() == counted([whole])

    async def test_versions_in_one_batch_end_at_the_highest(self, backend: Backend) -> None:
        versions = [message(0)._replace(content=f"v{version}", version=version) for version in (1, 3, 2)]

        assert await backend.store.write([message(1), *versions]) == 3
        assert sorted(backend.messages()) == sorted([message(1), versions[1]])
        assert backend.counts() == counted([message(0), message(1)])

    async def test_a_replaced_message_keeps_its_place(self, backend: Backend) -> None:
        await backend.store.write([message(0)._replace(version=1)])

        await backend.store.write([message(0, "other")._replace(created_at_us=START_US + 9, content="b", version=2)])

        assert backend.messages() == [message(0)._replace(content="b", version=2)]
        assert backend.counts() == counted([message(0)])

    async def test_of_two_messages_of_one_microsecond_the_greater_id_is_the_last(self, backend: Backend) -> None:
        same = [message(number)._replace(created_at_us=START_US) for number in range(6)]
        for each in same:
            await backend.store.write([each])

        assert backend.counts() == counted(same)

    async def test_a_session_is_its_first_named_users(self, store: SqlStore) -> None:
        await store.write([message(0), message(1, user_id="ada", platform="web")])
        await store.write([message(2, user_id="bob", platform="app")])

        session = await store.session("s")

        assert session is not None
        assert (session.user_id, session.platform, session.message_count) == ("ada", "web", 3)

    async def test_a_bad_record_in_a_batch_leaves_nothing_of_it(self, backend: Backend) -> None:
        await backend.store.write([message(0)])

        with pytest.raises(StoreRejected):
            await backend.store.write([message(1), message(2, "t"), log(0), chunk(0), embedding()])

        assert backend.messages() == [message(0)]
        assert backend.logs() == []
        assert backend.counts() == counted([message(0)])

    # Fences

    async def test_a_stale_owner_writes_nothing(self, backend: Backend) -> None:
        await backend.store.write([message(0)], Fence("ns/messages:0", 7))

        with pytest.raises(StaleOwner) as caught:
            await backend.store.write([message(1)], Fence("ns/messages:0", 6))

        assert caught.value.seen == 7
        assert backend.messages() == [message(0)]

    async def test_a_fence_holds_for_its_partition_and_lets_its_owner_go_on(self, backend: Backend) -> None:
        await backend.store.write([message(0)], Fence("a", 7))

        await backend.store.write([message(1)], Fence("a", 7))
        await backend.store.write([message(2)], Fence("b", 1))
        await backend.store.write([message(3)], Fence("a", 8))

        with pytest.raises(StaleOwner):
            await backend.store.write([message(4)], Fence("a", 7))
        assert len(backend.messages()) == 4

    async def test_a_refused_batch_raises_no_fence(self, store: SqlStore) -> None:
        with pytest.raises(StoreRejected):
            await store.write([embedding()], Fence("a", 9))

        assert await store.write([message(0)], Fence("a", 1)) == 1

    # Cancellation and concurrency

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_write_is_all_or_nothing_and_the_store_goes_on(
        self, backend: Backend, turns: int
    ) -> None:
        write = asyncio.create_task(backend.store.write([message(0), message(1), log(0)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])
        await backend.store.write([message(2)])

        assert {each.content for each in backend.messages()} in ({"text 2"}, {"text 0", "text 1", "text 2"})
        assert len(backend.logs()) == (len(backend.messages()) == 3)
        assert backend.counts() == counted(backend.messages())

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_question_leaves_the_store_usable(self, backend: Backend, turns: int) -> None:
        await backend.store.write([message(0)])
        question = asyncio.create_task(backend.store.messages(MessageQuery()))
        for _ in range(turns):
            await asyncio.sleep(0)
        question.cancel()
        await asyncio.wait([question])

        assert len(await backend.store.messages(MessageQuery())) == 1

    async def test_concurrent_writes_of_the_same_and_of_others_add_up(self, backend: Backend) -> None:
        batches = [[message(number, f"s{number % 5}") for number in range(at, at + 40)] for at in range(0, 400, 20)]
        async with asyncio.TaskGroup() as group:
            writes = [group.create_task(backend.store.write(batch)) for batch in batches]

        sent = [message(number, f"s{number % 5}") for number in range(420)]
        assert sum(write.result() for write in writes) == 420
        assert sorted(backend.messages()) == sorted(sent)
        assert backend.counts() == counted(sent)

    async def test_a_poisoned_neighbour_costs_others_nothing(self, backend: Backend) -> None:
        good = [backend.store.write([message(number)]) for number in range(5)]

        outcomes = await asyncio.gather(*good, backend.store.write([embedding()]), return_exceptions=True)

        assert outcomes[:5] == [1] * 5
        assert isinstance(outcomes[5], StoreRejected)
        assert len(backend.messages()) == 5

    # Life

    async def test_setup_may_be_repeated_and_raced(self, backend: Backend) -> None:
        await backend.store.write([message(0)])

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(backend.store.setup())

        assert backend.messages() == [message(0)]

    async def test_a_store_that_is_there_passes_its_check(self, store: SqlStore) -> None:
        await store.check()

    async def test_a_closed_store_answers_nothing_and_closes_again(self, store: SqlStore) -> None:
        await store.close()
        await store.close()

        for call in (store.write([message(0)]), store.message(message(0).id), store.check(), store.setup()):
            with pytest.raises(StoreUnavailable, match="closed"):
                await call

    async def test_closing_finishes_the_write_that_runs(self, backend: Backend) -> None:
        write = asyncio.create_task(backend.store.write([message(number) for number in range(50)]))
        await asyncio.sleep(0)

        await backend.store.close()

        assert await write == 50
        assert len(backend.messages()) == 50
