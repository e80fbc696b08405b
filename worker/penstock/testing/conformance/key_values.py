"""What every store of values under keys does, whether it keeps anything else or not."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.stores.contract import Trial
from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.stores.key_value_contract import PAGE, KeyValueStore
from penstock.stores.queries import KeyValueQuery, Position
from penstock.stores.states import Was
from penstock.testing.conformance.key_value_records import NOW_US, WILD, deleted, key_value, keys_under, value_of
from penstock.testing.conformance.key_value_twin import ACTS, Twin
from penstock.testing.conformance.records import embedding
from penstock.testing.conformance.state_records import stamp
from penstock.wire.ids import from_us


class Place(NamedTuple):
    """One place of a backend: the store under test, and the same place seen past it."""

    store: KeyValueStore
    values: Callable[[], Mapping[tuple[str, str], bytes]]
    """The JSON under each namespace and key that has a value, expired or not."""


class KeyValueConformance(ABC):
    """Every backend passes every test here, unchanged."""

    @abstractmethod
    def fresh(self) -> AbstractAsyncContextManager[Place]:
        """An empty place whose store is set up, closed afterwards. Opened anew for every example of a property."""

    @pytest.fixture
    async def place(self) -> AsyncIterator[Place]:
        async with self.fresh() as place:
            yield place

    @pytest.fixture
    def store(self, place: Place) -> KeyValueStore:
        return place.store

    # What a worker writes

    async def test_what_was_set_is_there_as_it_was_sent(self, place: Place) -> None:
        sent = key_value(1, value=b'{"b":[1.5,null,"\xc3\xa9"],"a":{}}', expires_at_us=NOW_US + 9, normalised=True)

        assert await place.store.write([sent]) == 1

        found = await place.store.key_value("n", "k", NOW_US)
        assert found is not None
        assert (found.namespace, found.key, found.normalised) == ("n", "k", True)
        assert found.value == {"b": [1.5, None, "é"], "a": {}}
        assert (found.version, found.expires_at) == (stamp(1).hex(), from_us(NOW_US + 9))
        assert (found.created_at, found.updated_at) == (from_us(NOW_US + 1), from_us(NOW_US + 1))
        assert place.values() == {("n", "k"): sent.value}

    @pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])), ids=str)
    async def test_the_newest_stays_whatever_the_order(self, place: Place, order: Sequence[int]) -> None:
        taken = [await place.store.write([key_value(number)]) for number in order]

        assert taken == [int(number == max(order[: at + 1])) for at, number in enumerate(order)]
        assert place.values() == {("n", "k"): b"3"}
        found = await place.store.key_value("n", "k", NOW_US)
        assert found is not None
        assert found.created_at == from_us(NOW_US + order[0])

    async def test_a_batch_is_its_records_one_after_another(self, place: Place) -> None:
        sent = [key_value(2), key_value(1), key_value(4, "x"), deleted(5, "x"), key_value(3)]

        assert await place.store.write(sent) == 4
        assert await place.store.write(sent) == 0
        assert place.values() == {("n", "k"): b"3"}

    async def test_many_keys_in_one_batch_all_come_to_be(self, place: Place) -> None:
        sent = [key_value(number, f"{number % 700}") for number in range(1_400)]

        assert await place.store.write(sent) == len(sent)
        assert place.values() == {("n", f"{number % 700}"): b"%d" % number for number in range(700, 1_400)}

    async def test_an_empty_batch_is_nothing_new(self, store: KeyValueStore) -> None:
        assert await store.write([]) == 0
        assert await store.put([], NOW_US) == []

    async def test_keys_and_namespaces_stay_apart(self, place: Place) -> None:
        names = [("n", "x"), ("n", "X"), ("N", "x"), ("x", "n"), ("a:b", "c"), ("a", "b:c"), ("n", "x "), ("n", "{x}")]

        assert await place.store.write([key_value(1, key, space) for space, key in names]) == len(names)
        assert sorted(place.values()) == sorted(names)
        assert await keys_under(place.store, "", "a") == ["b:c"]

    async def test_a_deletion_hides_and_what_is_older_does_not_come_back(self, place: Place) -> None:
        taken = [await place.store.write([each]) for each in (key_value(1), deleted(5), key_value(4), deleted(5))]

        assert taken == [1, 1, 0, 0]
        assert place.values() == {}
        assert await value_of(place.store) is None
        assert await keys_under(place.store, "") == []
        assert await place.store.write([key_value(6)]) == 1
        assert await value_of(place.store) == 6

    async def test_a_deletion_that_comes_first_keeps_out_what_is_older(self, store: KeyValueStore) -> None:
        assert await store.write([deleted(5)]) == 1

        assert await store.write([key_value(4)]) == 0
        assert await value_of(store) is None

    async def test_what_has_expired_is_not_there_and_does_not_let_an_older_one_back(self, store: KeyValueStore) -> None:
        await store.write([key_value(2, expires_at_us=NOW_US + 100)])

        late = await store.write([key_value(1)])

        assert late == 0
        assert await value_of(store, now_us=NOW_US + 99) == 2
        assert await value_of(store, now_us=NOW_US + 100) is None
        assert await store.key_values_of("n", ["k"], NOW_US + 100) == []
        assert await keys_under(store, "", now_us=NOW_US + 100) == []

    async def test_what_is_no_sound_value_is_refused_alone_and_nothing_of_its_batch_stays(self, place: Place) -> None:
        for bad in (key_value(2, "bad", value=b"{"), key_value(2, "b\0d"), embedding()):
            with pytest.raises(StoreRejected):
                await place.store.write([key_value(1), bad])

        assert place.values() == {}

    async def test_a_rehearsal_tells_what_would_become_of_each_and_changes_nothing(self, place: Place) -> None:
        await place.store.write([key_value(2)])

        trials = await place.store.rehearse(
            [key_value(1), key_value(3), key_value(3), key_value(4, "x", value=b"{"), key_value(1, "new")]
        )

        assert [(trial.is_new, trial.refusal is None) for trial in trials] == [
            (False, True), (True, True), (False, True), (False, False), (True, True),
        ]  # fmt: skip
        assert trials[0] == Trial(is_new=False)
        assert place.values() == {("n", "k"): b"2"}

    # What an agent does at once

    async def test_what_is_put_takes_effect_whatever_stamp_is_there(self, place: Place) -> None:
        await place.store.write([key_value(9), deleted(8, "x")])

        was = await place.store.put([key_value(1), key_value(2, "x"), key_value(3, "y"), key_value(4)], NOW_US)

        assert [each.live for each in was] == [True, False, False, True]
        assert stamp(9) < was[0].stamp < was[3].stamp
        assert was[1].stamp > stamp(8)
        assert was[2] == Was(live=False, stamp=stamp(3))
        assert place.values() == {("n", "k"): b"4", ("n", "x"): b"2", ("n", "y"): b"3"}
        assert await place.store.write([key_value(9)]) == 0

    async def test_only_what_is_absent_is_set_if_absent(self, place: Place) -> None:
        await place.store.write([key_value(1, "held"), deleted(2, "gone"), key_value(3, "old", expires_at_us=NOW_US)])

        was = await place.store.put(
            [key_value(4, key) for key in ("held", "gone", "old", "new", "new")], NOW_US, if_absent=True
        )

        assert [each.live for each in was] == [True, False, False, False, True]
        assert was[0].stamp == stamp(1)
        assert place.values() == {("n", "held"): b"1", **{("n", key): b"4" for key in ("gone", "old", "new")}}

    async def test_of_many_that_claim_a_key_at_once_one_finds_it_free(self, place: Place) -> None:
        claims = [place.store.put([key_value(number)], NOW_US, if_absent=True) for number in range(1, 21)]

        was = await asyncio.gather(*claims)

        first = [number for number, (each,) in enumerate(was, 1) if not each.live]
        assert len(first) == 1
        assert place.values() == {("n", "k"): b"%d" % first[0]}

    async def test_a_deletion_tells_whether_there_was_anything(self, place: Place) -> None:
        await place.store.write([key_value(5), key_value(6, "old", expires_at_us=NOW_US)])

        was = await place.store.put([deleted(1), deleted(2), deleted(3, "old"), deleted(4, "never")], NOW_US)

        assert [each.live for each in was] == [True, False, False, False]
        assert place.values() == {}
        assert await place.store.write([key_value(5), key_value(3, "never")]) == 0

    async def test_what_cannot_be_kept_is_not_put(self, place: Place) -> None:
        with pytest.raises(StoreRejected):
            await place.store.put([key_value(1), key_value(2, "bad", value=b"[")], NOW_US)

        assert place.values() == {}

    async def test_concurrent_puts_and_writes_of_one_key_leave_one_of_them(self, place: Place) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1, 11):
                group.create_task(place.store.write([key_value(number)]))
                group.create_task(place.store.put([key_value(number + 100)], NOW_US))

        (left,) = place.values().values()
        assert left in {b"%d" % (number + 100) for number in range(1, 11)}

    # What is read

    async def test_many_are_found_in_one_question_and_missing_ones_left_out(self, store: KeyValueStore) -> None:
        await store.write([key_value(number, f"{number}") for number in range(20)])

        found = await store.key_values_of("n", ["3", "none", "17", "3", "%", "3*"], NOW_US)

        assert sorted(each.key for each in found) == ["17", "3"]
        assert await store.key_values_of("n", [], NOW_US) == []

    async def test_pages_come_by_key_and_follow_one_another(self, store: KeyValueStore) -> None:
        keys = sorted(["a", "ab", "a\U0001f30a", "aé", "a\ue000", "b", *(f"a{number}" for number in range(30))])
        await store.write([key_value(number, key) for number, key in enumerate(keys)])
        await store.write([deleted(100, "a7")])

        seen: list[str] = []
        after: Position | None = None
        while page := await store.key_values(
            KeyValueQuery(now_us=NOW_US, namespace="n", prefix="a", limit=8, after=after)
        ):
            assert len(page) <= 8
            seen += [each.key for each in page]
            after = Position(0, page[-1].key)

        assert seen == [key for key in keys if key not in ("a7", "b")]

    async def test_more_than_a_page_is_walked_to_the_end(self, store: KeyValueStore) -> None:
        await store.write([key_value(number, f"{number:05}") for number in range(PAGE + 1)])

        walked = [each.key async for some in store.under("n", "0", NOW_US) for each in some]

        assert len(set(walked)) == PAGE + 1

    @pytest.mark.parametrize("prefix", WILD)
    async def test_a_prefix_means_itself(self, store: KeyValueStore, prefix: str) -> None:
        keys = sorted({f"{each}{end}" for each in WILD for end in ("", "x", "%", "\U0010ffff")} - {""})
        await store.write([key_value(number, key) for number, key in enumerate(keys)])
        await store.write([key_value(1, prefix + "x", "other")])

        assert await keys_under(store, prefix) == [key for key in keys if key.startswith(prefix)]

    # How it lives

    @pytest.mark.parametrize("turns", range(5))
    async def test_a_cancelled_write_leaves_each_key_whole_and_the_store_usable(self, place: Place, turns: int) -> None:
        write = asyncio.create_task(place.store.write([key_value(1, "x"), key_value(2, "y")]))
        for _ in range(turns):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])

        await place.store.write([key_value(1, "x"), key_value(2, "y"), key_value(3, "after")])

        assert place.values() == {("n", "x"): b"1", ("n", "y"): b"2", ("n", "after"): b"3"}

    async def test_a_closed_store_refuses_every_call(self, place: Place) -> None:
        await place.store.close()
        await place.store.close()

        for call in (
            place.store.write([key_value(1)]),
            place.store.put([key_value(1)], NOW_US),
            place.store.key_value("n", "k", NOW_US),
            place.store.check(),
        ):
            with pytest.raises(StoreUnavailable):
                await call

    async def test_setting_it_up_again_keeps_what_is_there(self, store: KeyValueStore) -> None:
        await store.write([key_value(1)])

        await store.setup()
        await store.setup(migrate=False)

        assert await value_of(store) == 1

    # Against a dict

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(data=st.data())
    async def test_whatever_is_done_it_holds_what_a_dict_would(self, data: st.DataObject) -> None:
        async with self.fresh() as place:
            twin = Twin(place.store)
            for act in data.draw(st.lists(ACTS, max_size=25)):
                await act(twin)
            await twin.compare("")
            assert {key: value for (_, key), value in place.values().items() if key in twin.live()} == twin.live()
