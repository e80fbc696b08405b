"""Events, tasks and text logs of other programs become records of ours, the same ones in every import."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from penstock.moving.events import NotAnEvent, Origin, event_of
from penstock.moving.moments import moment_us
from penstock.moving.sources import Shape, look_at
from penstock.moving.taskfiles import NotATask, objects_of, task_of
from penstock.moving.textlogs import events_of
from penstock.stores import states
from penstock.wire.building import LEVELS
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import format_id, from_us, id_from_key
from penstock.wire.records import LogEvent, Task

NOON_US = 1_769_860_800_000_000  # 2026-01-31T12:00:00Z
ORIGIN = Origin(file="f", line=7, at_us=5, zone=UTC)


def event(**fields: Any) -> LogEvent:
    return event_of(json.dumps(fields).encode(), ORIGIN)


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-01-31T12:00:00Z", NOON_US),
        ("2026-01-31 13:00:00.000001 +01:00", NOON_US + 1),
        ("2026-01-31T12:00:00,5", NOON_US + 500_000),
        ("2026/01/31 12:00:00", NOON_US),
        (1_769_860_800, NOON_US),
        (1_769_860_800.25, NOON_US + 250_000),
        (1_769_860_800_000, NOON_US),
        (1_769_860_800_000_000, NOON_US),
        (1_769_860_800_000_000_999, NOON_US),
        (True, None),
        (-1, None),
        (float("inf"), None),
        ("yesterday", None),
        ("0000-00-00", None),
        (None, None),
    ],
)
def test_times_are_read_as_others_write_them(value: object, at: int | None) -> None:
    assert moment_us(value, UTC) == at


def test_a_time_without_a_zone_is_of_the_zone_that_is_given() -> None:
    assert moment_us("2026-01-31T13:00:00", ZoneInfo("Europe/Berlin")) == NOON_US
    assert moment_us("2026-01-31T12:00:00Z", ZoneInfo("Europe/Berlin")) == NOON_US


# Events


def test_an_event_has_its_columns_and_the_rest_as_data() -> None:
    found = event(
        type="agent.error", agent_id="a", task_id=9, severity="Warn", timestamp="2026-01-31T12:00:00Z", message="m",
        error={"code": [1, None]},
    )  # fmt: skip

    assert found._replace(id=b"") == LogEvent(
        b"", NOON_US, LEVELS["warning"], "agent.error", "m", "a", "9", b'{"error":{"code":[1,null]}}'
    )


@pytest.mark.parametrize(
    ("given", "level", "data"),
    [
        ({}, "info", None),
        ({"severity": "fatal"}, "critical", None),
        ({"level": 40}, "error", None),
        ({"severity": "purple"}, "info", b'{"severity":"purple"}'),
        ({"data": {"a": 1}}, "info", b'{"a":1}'),
        ({"data": {"a": 1}, "b": 2}, "info", b'{"data":{"a":1},"b":2}'),
        ({"agent_id": ["no", "name"]}, "info", b'{"agent_id":["no","name"]}'),
        ({"id": "e-1"}, "info", b'{"id":"e-1"}'),
    ],
)
def test_what_is_no_column_is_kept(given: dict[str, Any], level: str, data: bytes | None) -> None:
    found = event(type="t", **given)

    assert (found.level, found.data, found.created_at_us) == (LEVELS[level], data, 5)


def test_an_event_has_its_own_id_or_that_of_its_place_and_text() -> None:
    own = "019b76da-8000-7000-8000-000000000007"
    line = b'{"type":"t"}'

    assert format_id(event(type="t", id=own).id) == own
    assert event_of(line, ORIGIN).id == event_of(line + b"\r\n", ORIGIN).id
    others = [ORIGIN.at(8), Origin(file="g", line=7, at_us=5, zone=UTC)]
    assert len({event_of(line, each).id for each in (ORIGIN, *others)} | {event(type="u").id}) == 4


def test_a_machine_whose_clock_begins_in_1970_is_believed() -> None:
    at, at_us = "1970-01-01T00:05:00Z", 300_000_000

    assert event(type="t", timestamp=at).created_at_us == at_us
    assert [each.created_at_us for each in lines(f"{at} INFO up")] == [at_us]
    assert (task(id="t", last_run=at).last_run_at_us, task(id="t", created_at=at).first_at_us) == (at_us, at_us)


def test_bad_text_is_mended_and_marked() -> None:
    found = event_of(rb'{"type":"t","message":"\ud800 \u0000"}', ORIGIN)

    assert (found.message, found.normalised) == ("\ufffd \ufffd", True)


@pytest.mark.parametrize(
    ("line", "error", "reason"),
    [
        (b"{", NotAnEvent, "no JSON"),
        (b"\xff", NotAnEvent, "no JSON"),
        (b"[" * 100_000, NotAnEvent, "no JSON"),
        (b"7", NotAnEvent, "an object is needed"),
        (b'{"severity":"info"}', NotAnEvent, "it has no type"),
        (b'{"type":"t","timestamp":"soon"}', NotAnEvent, "timestamp is 'soon'"),
        (b'{"type":"t","n":18446744073709551616}', InvalidRecord, "64 bits"),
        (b'{"type":"' + b"x" * 300 + b'"}', InvalidRecord, "at most 255"),
    ],
)
def test_a_line_that_is_no_event_is_refused_with_the_need(line: bytes, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        event_of(line, ORIGIN)


# Text logs


def lines(text: str, origin: Origin = ORIGIN) -> list[LogEvent]:
    return [found for _, found in events_of(enumerate(text.encode().splitlines(keepends=True), 1), origin)]


@pytest.mark.parametrize(
    ("line", "at", "level", "message", "logger"),
    [
        ("2026-01-31 12:00:00,123 - jobs.runner - ERROR - it broke", 123_000, "error", "it broke", "jobs.runner"),
        ("2026-01-31 12:00:00 INFO started: ok", 0, "info", "started: ok", None),
        ("[2026-01-31T12:00:00.5Z] [warning] careful", 500_000, "warning", "careful", None),
        ("2026-01-31T13:00:00+01:00 | DEBUG | x", 0, "debug", "x", None),
        ("2026/01/31 12:00:00 [jobs] - WARN: w", 0, "warning", "w", "jobs"),
        ("2026-01-31 12:00:00 Information desk", 0, "info", "Information desk", None),
        ("2026-01-31 12:00:00 - CRITICAL", 0, "critical", "", None),
        ("FATAL:root:down", None, "critical", "down", "root"),
        ("[error] it broke", None, "error", "it broke", None),
        ("ERROR: it broke", None, "error", "it broke", None),
        ("ERRORS were found", None, "info", "ERRORS were found", None),
        ('  File "x.py", line 3', None, "info", '  File "x.py", line 3', None),
        ("2026-13-31 12:00:00 ERROR x", None, "info", "2026-13-31 12:00:00 ERROR x", None),
    ],
)
def test_a_line_is_taken_apart(line: str, at: int | None, level: str, message: str, logger: str | None) -> None:
    (found,) = lines(line)

    assert found.created_at_us == (5 + 1 if at is None else NOON_US + at)
    assert (found.level, found.event, found.message) == (LEVELS[level], "log.line", message)
    named = {} if logger is None else {"logger": logger}
    assert json.loads(found.data or b"") == {"file": "f", "line": 1, **named}


def test_a_long_ruler_costs_no_more_than_its_length() -> None:
    """It took 1.4 s for 8,000 dashes, and for these a quarter of an hour."""
    (found,) = lines(f"2026-01-31 12:00:00 {'-' * 200_000}")

    assert found.created_at_us == NOON_US


def test_lines_of_one_time_keep_their_order() -> None:
    stamp = "2026-01-31 12:00:00"
    found = lines(f"{stamp} a\n\n{stamp} b\n  c\n2026-01-31 12:00:01 d\n{stamp} e\n")

    assert [(each.message, each.created_at_us - NOON_US) for each in found] == [
        ("a", 0), ("b", 1), ("  c", 2), ("d", 1_000_000), ("e", 0),
    ]  # fmt: skip


def test_bytes_that_are_no_text_are_replaced() -> None:
    found = list(events_of([(1, b"caf\xe9\n")], ORIGIN))

    assert found[0][1].message == "caf\ufffd"


# Tasks


def task(**fields: Any) -> Task:
    return task_of(fields, ORIGIN)


def test_a_task_has_its_columns_and_the_rest_as_data() -> None:
    found = task(
        id="nightly", agent_name="coder", task_prompt="Tidy up", schedule_type="daily", schedule_value="09:00",
        repeat=0, enabled=0, created_at="2026-01-30T12:00:00Z", last_run="2026-01-31T12:00:00Z", status="done",
        next_run=None, duration=1.5, result=[1],
    )  # fmt: skip

    assert (found.task_id, found.agent_id, found.task_type, found.status) == ("nightly", "coder", "daily", "done")
    assert (found.description, found.enabled, found.duration_s, found.result) == ("Tidy up", False, 1.5, b"[1]")
    assert (found.first_at_us, found.last_run_at_us) == (NOON_US - 86_400_000_000, NOON_US)
    assert json.loads(found.data or b"") == {"schedule_value": "09:00", "repeat": 0, "next_run": None}


def test_the_same_task_again_changes_nothing_and_a_later_one_does() -> None:
    rows: dict[Any, Any] = {}
    first = task(id="t", status="pending", updated_at="2026-01-31T12:00:00Z")
    later = task(id="t", status="done", updated_at="2026-01-31T12:00:01Z")

    assert [states.put(rows, each) for each in (first, first, later, first, later)] == [True, False, True, False, False]
    assert [row.status for row in rows.values()] == ["done"]


def test_what_was_saved_through_penstock_later_stays() -> None:
    rows: dict[Any, Any] = {}
    now = (NOON_US // 1_000 + 1 << 16).to_bytes(8, "big") + b"producer"
    states.put(rows, Task(id_from_key("x"), NOON_US, now, "t", "running"))

    assert not states.put(rows, task(id="t", status="pending", created_at="2026-01-31T12:00:00Z"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"agent_name":"a"}', ["f"]),
        ('{"id":"x","data":{}}', ["x"]),
        ('[{"id":"x"},{"id":"y"}]', ["x", "y"]),
        ('{"tasks":[{"id":"x"}],"version":1}', ["x"]),
        ('{"tasks":{"x":{},"y":{"id":"z"}}}', ["x", "z"]),
        ('{"x":{"status":"done"},"y":{}}', ["x", "y"]),
        ("[]", []),
    ],
)
def test_a_file_holds_a_task_or_several(content: str, found: list[str]) -> None:
    given = list(objects_of(content.encode(), "folder/f.json"))

    assert [task_of(each, ORIGIN).task_id for each in given] == found


@pytest.mark.parametrize(
    ("content", "reason"), [("{", "no JSON"), ("7", "a list of tasks"), ('"x"', "a list of tasks")]
)
def test_a_file_that_holds_none_is_refused(content: str, reason: str) -> None:
    with pytest.raises(NotATask, match=reason):
        list(objects_of(content.encode(), "f.json"))


@pytest.mark.parametrize(("given", "reason"), [(7, "must be an object"), ({}, "has no id"), ({"id": ""}, "has no id")])
def test_what_is_no_task_is_refused(given: object, reason: str) -> None:
    with pytest.raises(NotATask, match=reason):
        task_of(given, ORIGIN)


# Files


@pytest.mark.parametrize(
    ("name", "content", "shape"),
    [
        ("e.jsonl", b'{"penstock_export":1,"tables":[]}\n', Shape.EXPORT),
        ("e.log", b'{"penstock_export":1}\n', Shape.EXPORT),
        ("c.jsonl", b'{broken\n{"session_id":"s","messages":[]}\n', Shape.CONVERSATIONS),
        ("c.json", b'{"session_id":"s","messages":[]}\n', Shape.CONVERSATIONS),
        ("events.jsonl", b'\n{broken\n{"type":"x"}\n', Shape.EVENTS),
        ("app.log", b'{"type":"x"}\n', Shape.TEXT),
        ("empty.log", b"", Shape.TEXT),
        ("t.json", b'{\n "id": "x"\n}\n', Shape.TASKS),
        ("t.json", b'{"type":"daily","id":"x"}', Shape.TASKS),
        ("p.db", b"SQLite format 3\0...", Shape.DATABASE),
        ("empty.jsonl", b"", Shape.CONVERSATIONS),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_known_by_what_it_holds(
    name: str, content: bytes, shape: Shape, packed: bool, tmp_path: Path
) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed and shape is not Shape.DATABASE else content)

    source = look_at(path)

    assert source.shape is shape
    assert from_us(source.modified_us) <= datetime.now(UTC)
