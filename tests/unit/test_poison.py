"""Halving: the bad come back alone, the good are written once, in order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.wire.ids import new_id
from penstock.wire.records import Message, Record
from penstock.worker.poison import write_or_refuse


def messages(count: int) -> list[Message]:
    return [Message(new_id(), at, "s", "user", str(at)) for at in range(count)]


class PickyStore:
    """Writes all of a batch or, if one of it is bad, nothing."""

    def __init__(self, bad: set[bytes]) -> None:
        self.bad = bad
        self.written: list[Record] = []
        self.calls = 0

    async def write(self, records: Sequence[Record]) -> None:
        self.calls += 1
        if any(record.id in self.bad for record in records):
            raise StoreRejected("bad")
        self.written.extend(records)


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=5))
async def test_each_bad_record_costs_only_itself(count: int, bad: set[int]) -> None:
    records = messages(count)
    store = PickyStore({records[at].id for at in bad if at < count})

    refused = await write_or_refuse(records, store.write)

    assert [one.record for one in refused] == [record for record in records if record.id in store.bad]
    assert store.written == [record for record in records if record.id not in store.bad]


async def test_one_bad_record_in_a_thousand_costs_few_writes() -> None:
    records = messages(1000)
    store = PickyStore({records[617].id})

    await write_or_refuse(records, store.write)

    assert store.calls <= 2 * math.ceil(math.log2(1000)) + 1


async def test_a_store_that_goes_away_in_the_middle_blames_nobody() -> None:
    async def away(_: Sequence[Record]) -> None:
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        await write_or_refuse(messages(4), away)
