"""A record made anew from its fields by the builders that producers use, under its own identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from penstock.dlq.showing import shown
from penstock.wire import building
from penstock.wire.building_state import StateBuilder
from penstock.wire.errors import InvalidRecord
from penstock.wire.fields import json_fields
from penstock.wire.ids import RisingClock, StampClock, given_us
from penstock.wire.records import (
    AgentState,
    Context,
    Embedding,
    EmbeddingDeletion,
    KeyValue,
    LogEvent,
    Message,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
    TaskStatus,
    kind_of,
)

_STATE = ("id", "stamp", "deleted_at", "first_at", "normalised")

ANCHORS: Mapping[type[Record], tuple[str, ...]] = {
    Message: ("id", "session_id", "version", "normalised"),
    StreamChunk: tuple(name.removesuffix("_us") for name in StreamChunk._fields),
    LogEvent: ("id", "agent_id", "task_id", "normalised"),
    Embedding: ("id", "created_at", "collection", "key", "normalised"),
    Task: (*_STATE, "status_stamp", "task_id"),
    TaskStatus: ("id", "stamp", "task_id", "normalised"),
    AgentState: (*_STATE, "agent_id"),
    Context: (*_STATE, "context_id"),
    KeyValue: (*_STATE, "namespace", "key"),
    MessageDeletion: ("id", "session_id", "message_id"),
    EmbeddingDeletion: ("id", "created_at", "collection", "key"),
}
"""What a record is identified, ordered and told from a newer one by, as `showing` names it. The time of an embedding
and of its deletion is their version."""

_MADE = {"stamp", "status_stamp", "first_at", "version", "normalised"}
"""What no caller gives. The other kinds than messages and log events have an id of their own making too."""

_CLOCK = RisingClock()
_STATES = StateBuilder(_CLOCK, StampClock(bytes(8)))
"""Their times and stamps are put aside: a record keeps its own."""


def rebuilt(before: Record, given: Mapping[str, Any]) -> Record:
    """The record of *before*'s kind that has the fields *given*, named as `showing` names them, checked as a call's.

    What no caller gives is as it was, and so is JSON that means the same.

    Raises:
        InvalidRecord: A field cannot be stored, or a needed one is missing.
    """
    kind = type(before)
    if kind not in _BUILD:
        raise InvalidRecord(
            "record", kind_of(before).name, "one chunk of a stream cannot be edited; replay it, or purge"
        )
    for name in kind._fields:
        if name not in kind._field_defaults and name.removesuffix("_us") not in given:
            raise InvalidRecord(name.removesuffix("_us"), None, f"a {kind_of(before).name} needs it")
    made = _made(kind)
    times = {name.removesuffix("_us") for name in kind._fields if name.endswith("_us")}
    call = {name: _time(name, value) if name in times else value for name, value in given.items() if name not in made}
    built = _BUILD[kind](**call)
    return built._replace(**_as_before(before, built, given, made))


def _made(kind: type[Record]) -> set[str]:
    """The fields of *kind* that its builder does not take."""
    if kind in (Message, LogEvent):
        return _MADE
    return {*_MADE, "id"} | ({"deleted_at"} if "deleted_at_us" in kind._fields else set())


def _as_before(before: Record, built: Record, given: Mapping[str, Any], made: set[str]) -> dict[str, Any]:
    kept = {name: getattr(before, name) for name in before._fields if name.removesuffix("_us") in made}
    known = shown(before)
    for name in json_fields(before):
        if _means(given, name) == _means(known, name):
            kept[name] = getattr(before, name)
    if "normalised" in kept:
        kept["normalised"] = kept["normalised"] or getattr(built, "normalised", False)
    return kept


def _means(fields: Mapping[str, Any], name: str) -> bytes | None:
    """What tells whether JSON was touched. Python takes 1, 1.0 and True for equal."""
    return orjson.dumps(fields[name]) if name in fields else None


def _time(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise InvalidRecord(name, value, "a time in ISO 8601 with its zone is needed, or microseconds") from None


def _embedding(*, key: str, **given: Any) -> Embedding:
    return building.embedding(_CLOCK, id=key, **given)


def _deletion(*, created_at: Any, **given: Any) -> MessageDeletion:
    return _STATES.message_deletion(**given)._replace(created_at_us=given_us(created_at, "created_at"))


def _embedding_deletion(*, created_at: Any, key: str, **given: Any) -> EmbeddingDeletion:
    deletion = building.embedding_deletion(_CLOCK, id=key, **given)
    return deletion._replace(created_at_us=given_us(created_at, "created_at"))


_BUILD: Mapping[type[Record], Callable[..., Record]] = {
    Message: partial(building.message, _CLOCK),
    LogEvent: partial(building.log_event, _CLOCK),
    Embedding: _embedding,
    Task: _STATES.task,
    TaskStatus: _STATES.task_status,
    AgentState: _STATES.agent_state,
    Context: partial(_STATES.context, data=None),
    KeyValue: partial(_STATES.key_value, value=None),
    MessageDeletion: _deletion,
    EmbeddingDeletion: _embedding_deletion,
}
