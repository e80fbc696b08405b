"""A store of values under keys beside a dict that is asked the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

import orjson
from hypothesis import strategies as st

from penstock.stores.key_value_contract import KeyValueStore
from penstock.testing.conformance.key_value_records import NOW_US, WILD, deleted, key_value, keys_under
from penstock.wire.records import KeyValue


class _Row(NamedTuple):
    stamp: bytes
    value: bytes | None
    expires_at_us: int | None


class Twin:
    """A store and a dict of which the same is asked, by a clock that only the test moves."""

    def __init__(self, store: KeyValueStore) -> None:
        self.store = store
        self.now_us = NOW_US
        self.rows: dict[str, _Row] = {}

    def live(self) -> dict[str, bytes]:
        """The JSON under each key that has a value and has not expired."""
        return {key: row.value for key, row in self.rows.items() if row.value is not None and self._lives(row)}

    def _lives(self, row: _Row) -> bool:
        return row.expires_at_us is None or row.expires_at_us > self.now_us

    def _note(self, record: KeyValue, under: bytes) -> None:
        self.rows[record.key] = _Row(under, record.value, record.expires_at_us)

    async def write(self, record: KeyValue) -> None:
        """Taken where it is newer."""
        known = self.rows.get(record.key)
        takes = known is None or record.stamp > known.stamp
        assert await self.store.write([record]) == int(takes)
        if takes:
            self._note(record, record.stamp)

    async def put(self, record: KeyValue, if_absent: bool) -> None:
        """Taken in any case, or where nothing lives."""
        was_live = record.key in self.live()
        known = self.rows.get(record.key)
        (was,) = await self.store.put([record], self.now_us, if_absent=if_absent)
        assert was.live == was_live
        if if_absent and was_live:
            assert known is not None
            assert was.stamp == known.stamp
            return
        assert was.stamp >= record.stamp
        assert known is None or was.stamp > known.stamp
        self._note(record, was.stamp)

    async def compare(self, prefix: str) -> None:
        """What is read under *prefix*, in each way, is what the dict has there."""
        expected = {key: orjson.loads(value) for key, value in self.live().items() if key.startswith(prefix)}
        walked = {each.key: each.value async for some in self.store.under("n", prefix, self.now_us) for each in some}
        assert walked == expected
        assert await keys_under(self.store, prefix, now_us=self.now_us) == sorted(expected)
        asked = await self.store.key_values_of("n", [*self.rows, "never"], self.now_us)
        assert {each.key: each.value for each in asked if each.key.startswith(prefix)} == expected


Act: TypeAlias = Callable[[Twin], Awaitable[None]]

_keys = st.sampled_from([key for key in WILD if key]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=3
)
_lives = st.none() | st.integers(1, 30)
_json = st.sampled_from([b"1", b"null", b'"{}"', b'{"a":[]}', b"false", '"𝄞"'.encode()])


@st.composite
def _records(draw: st.DrawFn) -> KeyValue:
    number, key = draw(st.integers(1, 20)), draw(_keys)
    if draw(st.integers(0, 3)) == 0:
        return deleted(number, key)
    life = draw(_lives)
    expires_at_us = None if life is None else NOW_US + life
    return key_value(number, key, value=draw(_json), expires_at_us=expires_at_us)


def _written(record: KeyValue) -> Act:
    return lambda twin: twin.write(record)


def _put(record: KeyValue, if_absent: bool) -> Act:
    return lambda twin: twin.put(record, if_absent and record.deleted_at_us is None)


def _passed(span_us: int) -> Act:
    async def act(twin: Twin) -> None:
        twin.now_us += span_us

    return act


def _looked(prefix: str) -> Act:
    return lambda twin: twin.compare(prefix)


ACTS: st.SearchStrategy[Act] = st.one_of(
    st.builds(_written, _records()),
    st.builds(_put, _records(), st.booleans()),
    st.builds(_passed, st.integers(1, 10)),
    st.builds(_looked, st.sampled_from(WILD)),
)
"""What may be done to a twin, in any order."""
