"""A walk through a table keeps its pages small enough for memory, whatever the rows are like."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from penstock.moving.walks import pages_of, records_of, size_of, tables_named
from penstock.stores.walking import TABLES
from penstock.wire.ids import id_from_key
from penstock.wire.records import Message, Record


class Rows:
    """A table of messages."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._rows = [
            Message(id_from_key(str(number)), number, "s", "user", "x" * size) for number, size in enumerate(sizes)
        ]
        self.asked: list[int] = []

    async def walk(self, table: str, after: Record | None, limit: int) -> Sequence[Record]:
        assert table == "messages"
        self.asked.append(limit)
        start = 0 if after is None else after.created_at_us + 1
        return self._rows[start : start + limit]


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 600, 5_000])
async def test_every_record_comes_once_and_in_order(count: int) -> None:
    times = [each.created_at_us async for each in records_of(Rows([10] * count), "messages")]

    assert times == list(range(count))


async def test_pages_of_small_rows_grow_to_a_bound() -> None:
    rows = Rows([10] * 20_000)

    pages = [len(page) async for page in pages_of(rows, "messages")]

    assert sum(pages) == 20_000
    assert rows.asked[:5] == [200, 400, 800, 1_600, 2_000]
    assert max(rows.asked) == 2_000


async def test_pages_of_large_rows_shrink_to_a_few() -> None:
    rows = Rows([10] * 200 + [1_000_000] * 900)

    sizes = [sum(map(size_of, page)) async for page in pages_of(rows, "messages")]

    assert rows.asked[2:] == [4] * (len(rows.asked) - 2)
    assert max(sizes[2:]) < 5_000_000


async def test_a_row_above_the_bound_comes_alone() -> None:
    rows = Rows([6_000_000] * 3 + [8_000_000] * 200)

    pages = [len(page) async for page in pages_of(rows, "messages")]

    assert set(pages[1:]) == {1}


def test_tables_are_named_in_the_order_in_which_they_are_written() -> None:
    assert tables_named([]) == list(TABLES)
    assert tables_named(["logs", "deletions", "logs"]) == ["deletions", "logs"]
    with pytest.raises(ValueError, match="'vectors' is no table; known are deletions, messages"):
        tables_named(["vectors"])
