"""What a filter of JSON finds in every SQL store, by the whole way from the reader to the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.query import FilterError, Reader
from penstock.stores.contract import SqlStore
from penstock.stores.filters import MAX_ITEMS, parse
from penstock.stores.predicate import predicate
from penstock.testing.conformance.filter_strategies import wild_filters, wild_objects
from penstock.testing.conformance.records import START_US, Backend, log, message
from penstock.testing.conformance.state_records import context, task


class FilteringConformance:
    """The part of `SqlReadingConformance` that is about `where`."""

    fresh: Callable[[], AbstractAsyncContextManager[Backend]]

    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(
        documents=st.lists(st.none() | wild_objects, min_size=1, max_size=8),
        wheres=st.lists(wild_filters, min_size=1, max_size=4),
    )
    async def test_a_filter_finds_what_the_predicate_says(
        self, documents: list[dict[str, Any] | None], wheres: list[dict[str, Any]]
    ) -> None:
        async with self.fresh() as backend:
            for number, document in enumerate(documents):
                encoded = None if document is None else orjson.dumps(document)
                await backend.store.write(
                    [
                        message(number, metadata=encoded),
                        log(number, message=str(number), data=encoded),
                        task(number, str(number), data=encoded),
                        context(number, str(number), data=encoded),
                    ]
                )
            reader = Reader.open(sql=backend.store)

            for where in wheres:
                holds = predicate(parse(where))
                numbers = [str(number) for number, document in enumerate(documents) if holds(document or {})]

                found = {
                    "messages": [(each.content or "")[5:] async for each in reader.all_messages(where=where)],
                    "logs": [each.message async for each in reader.all_logs(where=where)],
                    "tasks": [each.id async for each in reader.all_tasks(where=where)],
                    "contexts": [each.id for each in await reader.contexts(where=where)],
                }
                assert found == dict.fromkeys(found, numbers), where
                assert await _counts(reader, where) == [len(numbers)] * 4, where

    async def test_a_filter_stands_beside_every_other_one(self, store: SqlStore) -> None:
        sent = [message(n, f"s{n % 2}", metadata=b'{"type":"%s"}' % (b"tech", b"art")[n % 3 == 0]) for n in range(12)]
        await store.write([*sent, message(20, "s1", metadata=b'{"type":"tech"}', deleted_at_us=START_US + 30)])
        reader, tech = Reader.open(sql=store), {"type": "tech"}

        async def found(**asked: Any) -> list[int]:
            return [int((each.content or "")[5:]) for each in await reader.messages(where=tech, **asked)]

        first = await reader.messages("s1", where=tech, limit=2)
        second = await reader.messages("s1", where=tech, limit=2, after=first.next)

        assert await found() == [1, 2, 4, 5, 7, 8, 10, 11]
        assert await found(session_id="s1") == [1, 5, 7, 11]
        assert await found(session_id="s1", include_deleted=True) == [1, 5, 7, 11, 20]
        assert await found(since=START_US + 4, until=START_US + 9, ascending=False) == [8, 7, 5, 4]
        assert [each.content for each in (*first, *second)] == ["text 1", "text 5", "text 7", "text 11"]
        assert second.next is None
        assert await reader.count_messages("s1", where=tech) == 4

    async def test_the_largest_filter_stands_beside_every_other_one(self, store: SqlStore) -> None:
        names = ["user_id", "platform", "channel_id", "thread_id", "bot_user_id"]
        names += ["engine_session_id", "provider_session_id", "provider_type"]
        given = {name: name for name in names}
        await store.write([message(n, message_type="t", metadata=b'{"f%d":%d}' % (n, n), **given) for n in (1, 5_000)])
        where = {
            "$and": [{"$not": {f"f{n}": {"$in": [n, str(n), True]}}} for n in range(MAX_ITEMS)],
            "$or": [{f"g{n}": {"$exists": False}} for n in range(MAX_ITEMS)],
        }
        times = {"since": START_US, "until": START_US + 9_000, "message_types": ["t"], "role": ["user", "tool"]}
        asked: dict[str, Any] = {**given, **times, "where": where}

        found = await Reader.open(sql=store).messages("s", **asked)

        assert [each.content for each in found] == ["text 5000"]

    @pytest.mark.parametrize(
        ("where", "complaint"),
        [
            ({"a": {"$regex": "x"}}, r"unknown operator '\$regex'; known are"),
            ({"a' OR 1 = 1 --": 1}, "are accepted"),
            ({"a": [1]}, "no finite number"),
            ("a = 1", "a filter is a mapping"),
        ],
        ids=str,
    )
    async def test_a_malformed_filter_says_why(self, store: SqlStore, where: Any, complaint: str) -> None:
        reader = Reader.open(sql=store)

        for ask in (
            reader.messages, reader.logs, reader.tasks, reader.contexts,
            reader.count_messages, reader.count_logs, reader.count_tasks, reader.count_contexts,
        ):  # fmt: skip
            with pytest.raises(FilterError, match=complaint):
                await ask(where=where)


async def _counts(reader: Reader, where: Mapping[str, Any]) -> list[int]:
    return [
        await reader.count_messages(where=where),
        await reader.count_logs(where=where),
        await reader.count_tasks(where=where),
        await reader.count_contexts(where=where),
    ]
