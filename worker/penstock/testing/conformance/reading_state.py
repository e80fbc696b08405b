"""What every SQL store answers about state and agents, asked through the reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.query import Page, Reader
from penstock.stores.contract import SqlStore
from penstock.stores.rows import AgentStatistics, StoredKeyValue
from penstock.testing.conformance.records import START_US, Backend, log
from penstock.testing.conformance.state_records import agent_state, context, deleted, key_value, task, task_status
from penstock.wire.ids import from_us

NOW_US = START_US + 1_000

_letters = st.text(st.sampled_from("ab%_*\\é\ud7ff\ue000\uffff\U0001f600\U0010ffff"), max_size=4)


def reader_of(store: SqlStore) -> Reader:
    """By a clock that stands still."""
    return Reader.open(sql=store, clock=lambda: NOW_US)


class ReadingStateConformance:
    """The part of `SqlReadingConformance` that is about state."""

    fresh: Callable[[], AbstractAsyncContextManager[Backend]]

    # Tasks

    @pytest.mark.parametrize(
        ("asked", "numbers"),
        [
            ({}, [0, 1, 2, 3, 5]),
            ({"agent_id": "a"}, [1, 2]),
            ({"status": "failed"}, [2]),
            ({"status": "deleted"}, []),
            ({"task_type": "crawl"}, [0, 3]),
            ({"enabled": True}, [0, 1, 2, 5]),
            ({"enabled": False}, [3]),
            ({"since": START_US + 2}, [2, 3, 5]),
            ({"until": from_us(START_US + 2)}, [0, 1]),
            ({"since": START_US + 1, "until": START_US + 3, "agent_id": "a"}, [1, 2]),
            ({"where": {"n": {"$gte": 3}}}, [3, 5]),
            ({"where": {"n": {"$ne": 1}}, "agent_id": "a"}, [2]),
            ({"where": {}, "task_type": "crawl", "enabled": False}, [3]),
        ],
        ids=str,
    )
    async def test_a_filter_of_tasks(self, store: SqlStore, asked: dict[str, Any], numbers: list[int]) -> None:
        extra: dict[int, dict[str, Any]] = {
            0: {"task_type": "crawl"},
            1: {"agent_id": "a"},
            2: {"agent_id": "a", "status": "failed"},
            3: {"enabled": False, "task_type": "crawl"},
            4: {"agent_id": "a"},
        }
        sent = [task(n, f"t{n}", data=b'{"n":%d}' % n, **extra.get(n, {})) for n in range(6)]
        await store.write([*sent, deleted(9, sent[4])])
        reader = reader_of(store)

        found = await reader.tasks(**asked)
        backwards = await reader.tasks(ascending=False, **asked)

        assert [each.id for each in found] == [f"t{n}" for n in numbers]
        assert [each.id for each in backwards] == [f"t{n}" for n in reversed(numbers)]
        assert await reader.count_tasks(**asked) == len(numbers)

    @pytest.mark.parametrize("ascending", [True, False])
    async def test_task_pages_are_complete_and_repeat_nothing(self, store: SqlStore, ascending: bool) -> None:
        # Threes of one microsecond, so that pages end between them. A task keeps its place when it changes.
        sent = [task(n, f"t{n:02}")._replace(created_at_us=START_US + n // 3) for n in range(20)]
        await store.write([*sent, task(50, "t07"), task_status(60, task_id="t03")])
        reader = reader_of(store)

        paged = await _all(lambda after: reader.tasks(ascending=ascending, limit=4, after=after))

        assert [each.id for each in paged] == sorted((each.task_id for each in sent), reverse=not ascending)
        assert [each.id async for each in reader.all_tasks(ascending=ascending)] == [each.id for each in paged]

    # Agents

    async def test_a_filter_of_agents(self, store: SqlStore) -> None:
        states = {"a": ("idle", "coder"), "b": ("busy", "coder"), "c": ("archived", "coder"), "d": ("busy", None)}
        await store.write([agent_state(1, each, state=state, role=role) for each, (state, role) in states.items()])
        await store.write([agent_state(1, "e"), deleted(2, agent_state(1, "e"))])
        reader = reader_of(store)

        async def ids(**asked: Any) -> str:
            return "".join([each.agent_id for each in await reader.agent_states(**asked)])

        assert await ids() == "abcd"
        assert await ids(active=True) == "abd"
        assert await ids(active=False, role="coder") == "c"
        assert await ids(role=["coder", "none such"], active=True) == "ab"
        assert await ids(state="busy") == "bd"
        assert await ids(state="busy", role="coder") == "b"

    async def test_agents_come_by_the_code_points_of_their_ids(self, store: SqlStore) -> None:
        names = ["a", "B", "ä", "A", "", "\uffff", "\U0001f600", "é", "_", "a b", "aa", "~"]
        names.remove("")
        await store.write([agent_state(1, name) for name in names])
        reader = reader_of(store)

        paged = await _all(lambda after: reader.agent_states(limit=3, after=after))

        assert [each.agent_id for each in paged] == sorted(names)

    async def test_the_statistics_of_an_agent(self, store: SqlStore) -> None:
        ended: list[dict[str, Any]] = [
            {"status": "completed", "duration_s": 1.5},
            {"status": "completed", "duration_s": 4.5},
            {"status": "completed"},
            {"status": "failed", "duration_s": 6.0},
            {"status": "running"},
            {"status": "completed", "duration_s": 99.0, "agent_id": "other"},
        ]
        tasks = [task(n, f"t{n}", **{"agent_id": "a", **fields}) for n, fields in enumerate(ended)]
        gone = [task(7, "gone", agent_id="a"), deleted(8, task(7, "gone"))]
        events = [log(n, agent_id="a", level=level) for n, level in enumerate([10, 20, 20, 40, 35])]
        await store.write([*tasks, *gone, *events, log(9), log(10, agent_id="other", level=50)])
        await store.write([context(1, "lasting", agent_id="a"), context(1, "other"), deleted(2, context(1, "gone"))])
        await store.write([context(1, f"c{us}", agent_id="a", expires_at_us=us) for us in (NOW_US, NOW_US + 1)])

        found = await reader_of(store).agent_statistics("a")

        assert found == AgentStatistics(
            agent_id="a",
            tasks=5,
            tasks_by_status={"completed": 3, "failed": 1, "running": 1},
            success_rate=0.75,
            average_duration_s=4.0,
            last_task_at=from_us(START_US + 4),
            logs_by_level={"debug": 1, "info": 2, "35": 1, "error": 1},
            contexts=2,
        )

    async def test_durations_that_no_float_could_add_up_have_an_average(self, store: SqlStore) -> None:
        await store.write([task(n, f"t{n}", agent_id="a", duration_s=1.5e308) for n in range(4)])

        assert (await reader_of(store).agent_statistics("a")).average_duration_s == 1.5e308

    async def test_an_agent_that_nothing_is_known_of_has_done_nothing(self, store: SqlStore) -> None:
        await store.write([task(1, agent_id="busy"), log(1, agent_id="busy"), context(1, agent_id="busy")])

        assert await reader_of(store).agent_statistics("a") == AgentStatistics(
            agent_id="a",
            tasks=0,
            tasks_by_status={},
            success_rate=None,
            average_duration_s=None,
            last_task_at=None,
            logs_by_level={},
            contexts=0,
        )

    # Contexts

    @pytest.mark.parametrize(
        ("asked", "numbers"),
        [
            ({}, [0, 1, 2, 4]),
            ({"agent_id": "a"}, [0, 2]),
            ({"session_id": "s"}, [1, 2]),
            ({"agent_id": "a", "session_id": "s"}, [2]),
            ({"since": START_US + 1, "until": START_US + 4}, [1, 2]),
            ({"where": {"save": {"$in": [0, 2, 3]}}}, [0, 2]),
            ({"where": {"save": 2}, "agent_id": "a"}, [2]),
        ],
        ids=str,
    )
    async def test_a_filter_of_contexts_never_gives_expired_ones(
        self, store: SqlStore, asked: dict[str, Any], numbers: list[int]
    ) -> None:
        extra: dict[int, dict[str, Any]] = {
            0: {"agent_id": "a"},
            1: {"session_id": "s", "expires_at_us": NOW_US + 1},
            2: {"agent_id": "a", "session_id": "s"},
            3: {"agent_id": "a", "session_id": "s", "expires_at_us": NOW_US},
        }
        await store.write([context(n, f"c{n}", **extra.get(n, {})) for n in range(5)])
        reader = reader_of(store)

        found = await reader.contexts(**asked)
        backwards = await reader.contexts(ascending=False, **asked)

        assert [each.id for each in found] == [f"c{n}" for n in numbers]
        assert [each.id for each in backwards] == [f"c{n}" for n in reversed(numbers)]
        assert await reader.count_contexts(**asked) == len(numbers)
        assert await reader.context("c3") is None

    @pytest.mark.parametrize("ascending", [True, False])
    async def test_context_pages_are_complete_and_repeat_nothing(self, store: SqlStore, ascending: bool) -> None:
        sent = [context(n, f"c{n:02}")._replace(created_at_us=START_US + n // 3) for n in range(20)]
        await store.write(sent)
        reader = reader_of(store)

        paged = await _all(lambda after: reader.contexts(ascending=ascending, limit=4, after=after))

        assert [each.id for each in paged] == sorted((each.context_id for each in sent), reverse=not ascending)

    # Key-values

    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(keys=st.sets(_letters.filter(bool), max_size=12), prefixes=st.lists(_letters, min_size=1, max_size=4))
    async def test_a_prefix_means_itself_and_nothing_else(self, keys: set[str], prefixes: list[str]) -> None:
        async with self.fresh() as backend:
            await backend.store.write([key_value(n, key, "default") for n, key in enumerate(sorted(keys), 1)])
            reader = reader_of(backend.store)

            for prefix in prefixes:
                paged = await _all(partial(_two_keys, reader, prefix))
                assert [each.key for each in paged] == sorted(key for key in keys if key.startswith(prefix)), prefix

    async def test_values_are_found_by_their_keys_in_their_namespace(self, store: SqlStore) -> None:
        await store.write([key_value(n, f"k{n}", "default") for n in range(4)])
        await store.write([key_value(9, "k1", "other"), key_value(9, "only", "other")])
        await store.write(
            [key_value(9, "late", "default", expires_at_us=NOW_US), deleted(9, key_value(2, "k2", "default"))]
        )
        await store.write([key_value(9, "null", "default", value=b"null")])
        reader = reader_of(store)

        many = await reader.get_many(["k3", "k2", "only", "late", "k1", "k3"])

        assert [each and each.value for each in many] == [3, None, None, None, 1, 3]
        assert [each and each.value for each in await reader.get_many(["only", "k1"], namespace="other")] == [9, 9]
        assert await reader.get_many([]) == []
        assert [each.key for each in await reader.key_values(namespace="other")] == ["k1", "only"]
        assert await reader.value("k1") == 1
        assert await reader.value("late", "gone") == "gone"
        assert await reader.value("null", "gone") is None
        assert await reader.key_value("only") is None


async def _two_keys(reader: Reader, prefix: str, after: str | None) -> Page[StoredKeyValue]:
    return await reader.key_values(prefix, limit=2, after=after)


async def _all(page: Callable[[str | None], Any]) -> list[Any]:
    """The items of every page, none of which is empty but the only one."""
    seen: list[Any] = []
    async for items in _pages(page):
        seen += items
    return seen


async def _pages(page: Callable[[str | None], Any]) -> AsyncIterator[list[Any]]:
    after: str | None = None
    while True:
        found: Page[Any] = await page(after)
        yield list(found)
        after = found.next
        if after is None:
            return
