"""What a run of upkeep does, in which order, and when it stops."""

from __future__ import annotations

import pytest

from penstock.stores.memory.sql import open_sql
from penstock.stores.queries import ContextQuery, MessageQuery, TaskQuery
from penstock.testing.conformance.records import START_US, log, message
from penstock.testing.conformance.state_records import context, deleted, task
from penstock.wire.settings import InvalidSetting, from_mapping
from penstock.worker.settings import WorkerConfig
from penstock.worker.upkeep import SLICE, Run, due, rehearse, told

DAY_US = 86_400_000_000
NOW_US = START_US + 10 * DAY_US
ALL = WorkerConfig(retain_messages_days=9, retain_logs_days=8, retain_tasks_days=7)


def test_only_what_expires_goes_by_default() -> None:
    assert {kind: before for kind, (before, _) in due(WorkerConfig(), NOW_US).items()} == {
        "tombstones": NOW_US - 7 * DAY_US,
        "contexts": NOW_US,
        "key_values": NOW_US,
    }


def test_each_kind_has_its_own_age() -> None:
    found = {kind: (NOW_US - before) // DAY_US for kind, (before, _) in due(ALL, NOW_US).items()}

    assert found == {"tombstones": 7, "contexts": 0, "key_values": 0, "tasks": 7, "logs": 8, "messages": 9}


@pytest.mark.parametrize(
    ("name", "value"),
    [("UPKEEP_EVERY_S", "-1"), ("TOMBSTONE_DAYS", "0"), ("RETAIN_LOGS_DAYS", "-1"), ("RETAIN_TASKS_DAYS", "6")],
)
def test_an_age_that_makes_no_sense_is_refused_with_its_name(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name.lower()):
        from_mapping(WorkerConfig, {f"PENSTOCK_{name}": value})


async def test_a_rehearsal_tells_what_the_run_then_does() -> None:
    store = open_sql("memory://")
    expired = context(1, expires_at_us=NOW_US - 1)
    old = [deleted(2, context(0, "other")), task(3, status="failed"), log(0), message(0)]
    await store.write([expired, *old, log(1)._replace(created_at_us=NOW_US), task(4, "on", status="running")])

    foreseen = await rehearse(store, ALL, NOW_US)
    run = Run(store, ALL, NOW_US)
    await run.perform()

    assert [(each.chore.name, each.records) for each in foreseen] == [
        (each.chore.name, each.records) for each in run.done
    ]
    assert run.counted() == {"tombstones": 1, "contexts": 1, "tasks": 1, "logs": 1, "messages": 1}
    assert run.is_complete
    assert [task.id for task in await store.tasks(TaskQuery())] == ["on"]
    assert await store.count_contexts(ContextQuery(now_us=0)) == 0


async def test_a_run_leaves_the_tombstones_that_it_makes() -> None:
    store = open_sql("memory://")
    await store.write([context(1, expires_at_us=START_US + 2)])

    await Run(store, ALL, NOW_US).perform()

    assert await store.write([context(0)]) == 0
    await Run(store, ALL, NOW_US + 8 * DAY_US).perform()
    assert await store.write([context(0)]) == 1


async def test_a_run_stops_after_the_slice_that_was_its_last_and_the_next_one_goes_on() -> None:
    store = open_sql("memory://")
    await store.write([message(number) for number in range(2 * SLICE)])
    slices = 0

    async def pause(_: float) -> bool:
        nonlocal slices
        slices += bool(run.counted())
        return slices < 1

    run = Run(store, ALL, NOW_US)
    await run.perform(pause)

    assert (run.counted(), run.is_complete) == ({"messages": SLICE}, False)
    assert await store.count_messages(MessageQuery()) == SLICE
    again = Run(store, ALL, NOW_US)
    await again.perform()
    assert (again.counted(), again.is_complete) == ({"messages": SLICE}, True)


async def test_a_limit_of_size_is_told_only_where_it_takes_something() -> None:
    done = told(await rehearse(open_sql("memory://"), ALL, NOW_US))

    assert [each.chore.kind for each in done] == ["tombstones", "contexts", "key_values", "tasks", "logs", "messages"]
