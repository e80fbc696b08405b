"""What is refused at the call: by name, before anything is sent, whatever the store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.stores.errors import StoreRejected
from penstock.stores.soundness import refuse_unsound_messages
from penstock.testing.conformance.records import message
from penstock.wire import building
from penstock.wire.building_state import StateBuilder
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import RisingClock, StampClock

CLOCK = RisingClock()
STATES = StateBuilder(CLOCK, StampClock(b"producer"))

CALLS: Mapping[str, Any] = {
    "message": lambda **given: building.message(CLOCK, **{"session_id": "s", "role": "user", **given}),
    "log": lambda **given: building.log_event(CLOCK, **{"level": "info", "event": "e", **given}),
    "task": lambda **given: STATES.task(**{"task_id": "t", **given}),
    "task_status": lambda **given: STATES.task_status(**{"task_id": "t", "status": "running", **given}),
    "agent_state": lambda **given: STATES.agent_state(**{"agent_id": "a", **given}),
    "context": lambda **given: STATES.context(**{"context_id": "c", "data": {}, **given}),
    "key_value": lambda **given: STATES.key_value(**{"key": "k", "value": 1, **given}),
    "message_deletion": lambda **given: STATES.message_deletion(**{"session_id": "s", **given}),
}

JSON = [
    ("message", "metadata"), ("log", "data"), ("task", "data"), ("task", "result"), ("task_status", "result"),
    ("agent_state", "stats"), ("context", "data"), ("key_value", "value"),
]  # fmt: skip

NAMES = [
    ("message", "session_id"), ("message", "role"), ("message", "user_id"), ("log", "event"), ("log", "agent_id"),
    ("task", "task_id"), ("task", "status"), ("task_status", "task_id"), ("agent_state", "agent_id"),
    ("agent_state", "state"), ("context", "context_id"), ("context", "session_id"), ("key_value", "key"),
    ("key_value", "namespace"), ("message_deletion", "session_id"),
]  # fmt: skip

TIMES = [
    ("message", "created_at"), ("message", "updated_at"), ("message", "deleted_at"), ("log", "created_at"),
    ("task", "created_at"), ("task", "last_run_at"), ("task", "next_run_at"), ("task", "started_at"),
    ("task_status", "completed_at"), ("context", "expires_at"), ("key_value", "expires_at"),
]  # fmt: skip

_deep: list[Any] = []
for _ in range(3_000):
    _deep = [_deep]
_endless: list[Any] = []
_endless.append(_endless)


def _assert_refused(kind: str, field: str, value: object) -> None:
    with pytest.raises(InvalidRecord) as caught:
        CALLS[kind](**{field: value})
    assert caught.value.field.startswith(field)
    assert caught.value.limit


@pytest.mark.parametrize(("kind", "field"), JSON)
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1, 2**200, object(), b"bytes", {1, 2}, _deep, _endless],
    ids=lambda value: type(value).__name__,
)
def test_what_json_has_no_word_for_is_refused(kind: str, field: str, value: object) -> None:
    _assert_refused(kind, field, {"a": [1, {"b": value}]})


@pytest.mark.parametrize(("kind", "field"), JSON)
@pytest.mark.parametrize("value", [{"a\0": 1, "a�": 2}, {"a\ud800": 1, "a\0": 2}, {1: 2}], ids=repr)
def test_keys_that_would_be_one_or_no_text_are_refused(kind: str, field: str, value: object) -> None:
    _assert_refused(kind, field, value)


@pytest.mark.parametrize(("kind", "field"), [each for each in JSON if each[1] not in ("result", "value")])
@pytest.mark.parametrize("value", [[1], "text", 1, b"{}", True])
def test_an_object_is_needed(kind: str, field: str, value: object) -> None:
    _assert_refused(kind, field, value)


@pytest.mark.parametrize(("kind", "field"), NAMES)
@pytest.mark.parametrize("value", ["", "x" * 256, "\0" * 256, 5, b"x", ["x"]], ids=lambda value: repr(value)[:9])
def test_a_name_is_text_of_1_to_255_characters(kind: str, field: str, value: object) -> None:
    _assert_refused(kind, field, value)


@pytest.mark.parametrize(("kind", "field"), TIMES)
@pytest.mark.parametrize(
    "value",
    [
        -1, 253_402_300_800_000_000, 2**63, -62_167_219_200_000_000, 1.5, True, "2025-06-15T15:06:40Z",
        datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), datetime(2025, 6, 15),  # noqa: DTZ001
    ],
    ids=repr,
)  # fmt: skip
def test_a_moment_is_aware_and_within_1970_and_9999(kind: str, field: str, value: object) -> None:
    _assert_refused(kind, field, value)


@pytest.mark.parametrize(
    ("kind", "field"),
    [("task", "duration_s"), ("task_status", "duration_s"), ("context", "ttl_s"), ("key_value", "ttl_s")],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, -0.5, True, "1", 10**400], ids=lambda value: repr(value)[:9])
def test_seconds_are_finite_and_not_negative(kind: str, field: str, value: object) -> None:
    _assert_refused(kind, field, value)


@pytest.mark.parametrize("ttl_s", [1e12, 1e300])
def test_a_time_to_live_ends_before_the_year_10000(ttl_s: float) -> None:
    _assert_refused("context", "ttl_s", ttl_s)
    _assert_refused("key_value", "ttl_s", ttl_s)


@pytest.mark.parametrize("value", [1, 0, None, "true"])
def test_a_flag_is_true_or_false(value: object) -> None:
    _assert_refused("task", "enabled", value)


@pytest.mark.parametrize("value", ["", "nope", b"", b"x" * 15, 5], ids=repr)
def test_a_deletion_names_a_message_by_its_id(value: object) -> None:
    _assert_refused("message_deletion", "message_id", value)


@pytest.mark.parametrize(
    ("kind", "field"), [("message", "content"), ("log", "message"), ("task", "error"), ("agent_state", "goal")]
)
@pytest.mark.parametrize("value", [5, b"bytes", ["x"], {"a": 1}], ids=repr)
def test_text_is_str(kind: str, field: str, value: object) -> None:
    _assert_refused(kind, field, value)


def test_metadata_that_is_json_only_beside_its_neighbours_is_refused() -> None:
    pieces = [b'{"a":[{}', b"{}]}", b"{},0,{}", b"{}"]
    messages = [message(number, metadata=piece) for number, piece in enumerate(pieces)]

    with pytest.raises(StoreRejected, match="metadata must be a JSON object"):
        refuse_unsound_messages(messages, plain=messages)
