"""Marks: what records say of the keys they set, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.wire.frames import encode
from penstock.wire.marks import GRACE_MS, Mark, marks_of, restamped
from penstock.wire.records import AgentState, Context, KeyValue, Record, Task, TaskStatus

HEAD = (bytes(16), 1_000_000)


def stamp(number: int) -> bytes:
    return number.to_bytes(16, "big")


def key_value(number: int, key: str = "k", namespace: str = "default", **fields: Any) -> KeyValue:
    return KeyValue(*HEAD, stamp(number), namespace, key, b"1", **fields)


def packed(*records: Record) -> list[bytes]:
    return [encode(record) for record in records]


def test_each_key_is_marked_once_by_its_newest_record() -> None:
    marks = marks_of(packed(key_value(3), key_value(1, "other"), key_value(9, namespace="n"), key_value(2)))

    assert sorted((mark.namespace, mark.key, mark.stamp) for mark in marks) == [
        ("default", "k", stamp(3)),
        ("default", "other", stamp(1)),
        ("n", "k", stamp(9)),
    ]


def test_a_mark_tells_when_its_key_expires_and_that_it_is_deleted() -> None:
    records = [key_value(1, "a"), key_value(1, "b", expires_at_us=7), key_value(1, "c", deleted_at_us=7)]

    assert [mark.expires_at_us for mark in marks_of(packed(*records))] == [None, 7, 0]


@pytest.mark.parametrize(
    "record",
    [
        Task(*HEAD, stamp(1), "k"),
        Task(*HEAD, stamp(1), "k", last_run_at_us=9, deleted_at_us=9, first_at_us=9),
        TaskStatus(*HEAD, stamp(1), "k", "done"),
        AgentState(*HEAD, stamp(1), "k"),
        Context(*HEAD, stamp(1), "k", b"{}", expires_at_us=9),
    ],
    ids=lambda record: f"{type(record).__name__}-{len(encode(record))}",
)
def test_other_state_marks_nothing(record: Record) -> None:
    assert marks_of(packed(record)) == []


@pytest.mark.parametrize(
    ("expires_at_us", "life_ms"),
    [
        (None, None),
        (0, GRACE_MS),
        (5_000_000, GRACE_MS),
        (5_000_001, GRACE_MS + 2),
        (5_001_999, GRACE_MS + 3),
        (65_000_000, GRACE_MS + 60_002),
    ],
)
def test_a_marker_lives_as_long_as_its_key_and_the_grace(expires_at_us: int | None, life_ms: int | None) -> None:
    assert Mark("default", "k", stamp(1), expires_at_us).life_ms(now_us=5_000_000) == life_ms


def test_another_stamp_changes_nothing_else() -> None:
    record = key_value(1, expires_at_us=7)

    assert restamped(encode(record), stamp(2)) == record._replace(stamp=stamp(2))
