"""What becomes of state: the same rows, in whatever order and batches its records come."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.stores.states import ROW_TYPES, Row, States
from penstock.wire.records import AgentState, Context, KeyValue, StateRecord, Task, TaskStatus

_keys = st.sampled_from(["x", "y"])
_times = st.integers(0, 9)
_maybe = st.none() | _times


_moments = st.tuples(_times, _times, _times, _times)


def _saves(number: int) -> st.SearchStrategy[StateRecord]:
    """A record under a stamp of its own. A change of status names everything: what it leaves out stays as it was."""
    stamp = b"%016d" % number
    statuses = st.sampled_from(["running", "failed"])

    def task(at: int, key: str, status: str, agent: str | None, deleted: int | None) -> Task:
        return Task(stamp, at, stamp, key, status, agent, last_run_at_us=at, deleted_at_us=deleted)

    def change(at: int, key: str, status: str, moments: tuple[int, int, int, int]) -> TaskStatus:
        return TaskStatus(stamp, at, stamp, key, status, *moments, duration_s=float(number), result=b"1", error="e")

    def state(at: int, key: str, deleted: int | None) -> AgentState:
        return AgentState(stamp, at, stamp, key, deleted_at_us=deleted)

    def context(at: int, key: str, expires: int | None, deleted: int | None) -> Context:
        return Context(stamp, at, stamp, key, expires_at_us=expires, deleted_at_us=deleted)

    def value(at: int, namespace: str, key: str, deleted: int | None) -> KeyValue:
        return KeyValue(stamp, at, stamp, namespace, key, b"1", deleted_at_us=deleted)

    tasks = st.builds(task, _times, _keys, statuses, st.none() | _keys, _maybe)
    changes = st.builds(change, _times, _keys, statuses, _moments)
    return st.one_of(
        *[tasks, changes] * 3,  # they have most to say
        st.builds(state, _times, _keys, _maybe),
        st.builds(context, _times, _keys, _maybe, _maybe),
        st.builds(value, _times, _keys, _keys, _maybe),
    )


_records = st.integers(0, 9).flatmap(lambda count: st.tuples(*map(_saves, range(count))))


@given(_records, st.data())
def test_records_in_any_order_and_any_batches_leave_the_same_rows(
    records: tuple[StateRecord, ...], data: st.DataObject
) -> None:
    """But for what tells how they came: when the first one did that took effect, and the id of what was never saved."""
    order = data.draw(st.permutations(records))
    again = data.draw(st.lists(st.sampled_from(records), max_size=4)) if records else []
    cut = data.draw(st.integers(0, len(records)))

    expected = _stored([list(records)])
    assert _stored([order[:cut], order[cut:], again]) == expected
    assert _stored([[each] for each in order]) == expected


@given(_records)
def test_what_came_already_changes_nothing(records: tuple[StateRecord, ...]) -> None:
    rows: dict[type[Any], list[Row]] = {}
    _write(rows, list(records))

    assert _write(rows, list(records)) == 0


def _stored(batches: list[list[StateRecord]]) -> list[Row]:
    rows: dict[type[Any], list[Row]] = {}
    for batch in batches:
        _write(rows, batch)
    found = [row._replace(first_at_us=None) for table in ROW_TYPES for row in rows.get(table, [])]
    return [row._replace(id=b"") if row.stamp == bytes(16) else row for row in found]


def _write(rows: dict[type[Any], list[Row]], batch: list[StateRecord]) -> int:
    states, taken = States(batch), 0
    for table in ROW_TYPES:
        known = {row[3:5] if table is KeyValue else row[3]: row for row in rows.get(table, [])}
        changed, count = states.changed(table, list(known.values()))
        known |= {row[3:5] if table is KeyValue else row[3]: row for row in changed}
        rows[table] = [known[key] for key in sorted(known)]
        taken += count
    return taken
