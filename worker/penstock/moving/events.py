"""Events as lines of JSON (`events.jsonl`), as log events of ours."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from penstock.moving.moments import moment_us
from penstock.wire import building
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import RisingClock, from_us, id_from_key
from penstock.wire.records import LogEvent

_EVENT = ("type", "event_type", "event", "name")
_LEVEL = ("severity", "level", "levelname")
_TIME = ("timestamp", "time", "ts", "created_at", "@timestamp")
_MESSAGE = ("message", "msg")
_AGENT = ("agent_id", "agent", "agent_name")
_TASK = ("task_id", "task")
_ID = ("id", "event_id", "uuid")

_OTHER_NAMES = {
    "trace": "debug", "verbose": "debug", "notice": "info", "information": "info", "warn": "warning", "err": "error",
    "severe": "error", "fatal": "critical", "panic": "critical", "emergency": "critical", "alert": "critical",
}  # fmt: skip


class NotAnEvent(ValueError):
    """A line has another shape. The message says what is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a line comes from: what its id and its time are made of where it has none."""

    file: str
    """The same in every import, or its lines would get other ids."""
    line: int
    at_us: int
    """The time of a line that names none."""
    zone: tzinfo
    """Of times that name none."""

    def at(self, line: int) -> Origin:
        """The same for another line."""
        return replace(self, line=line)

    def id_of(self, text: str) -> bytes:
        """An id that the same *text* at the same place gets in every import."""
        return id_from_key(json.dumps([self.file, self.line, text]))


def event_of(line: bytes, origin: Origin) -> LogEvent:
    """The event that *line* tells. What is no column of ours goes into `data`, under its own name.

    Raises:
        NotAnEvent: It is no JSON, or no object with a type.
        InvalidRecord: A field that no store keeps.
    """
    try:
        # Not orjson: it rounds integers beyond 64 bits and refuses lone surrogates, which we report and mend.
        event = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise NotAnEvent(f"no JSON: {exc}") from None
    if not isinstance(event, dict):
        raise NotAnEvent("an object is needed")
    rest = dict(event)
    name = _take(rest, _EVENT, _text)
    if name is None:
        raise NotAnEvent(f"it has no {' and no '.join(_EVENT)}")
    time = next((key for key in _TIME if key in rest), None)
    at_us = _take(rest, _TIME, lambda value: moment_us(value, origin.zone))
    if time is not None and at_us is None:
        raise NotAnEvent(f"{time} is {rest[time]!r}; ISO 8601 or seconds since 1970 are needed")
    return building.log_event(
        _NO_CLOCK,
        event=name,
        level=_take(rest, _LEVEL, level_of) or building.LEVELS["info"],
        message=_take(rest, _MESSAGE, _text),
        agent_id=_take(rest, _AGENT, _text),
        task_id=_take(rest, _TASK, _text),
        id=_take(rest, _ID, _uuid) or origin.id_of(line.strip().decode("utf-8", "replace")),
        created_at=from_us(origin.at_us if at_us is None else at_us),
        data=data_of(rest),
    )


_NO_CLOCK = RisingClock(lambda: 0)
"""Every time is given."""


def level_of(value: object) -> int | None:
    """The level that *value* names; None where it is none."""
    if isinstance(value, str):
        value = _OTHER_NAMES.get(value.lower(), value)
    try:
        return building.level_number(value)
    except InvalidRecord:
        return None


def _take(rest: dict[str, Any], names: tuple[str, ...], read: Any) -> Any:
    """The first of *names* that can be read, no longer among the *rest*."""
    for name in names:
        if name in rest and (value := read(rest[name])) is not None:
            del rest[name]
            return value
    return None


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _uuid(value: object) -> bytes | None:
    try:
        return uuid.UUID(value).bytes if isinstance(value, str) else None
    except ValueError:
        return None


def data_of(rest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is left; where that is `data` alone, what it holds."""
    if rest.keys() == {"data"} and isinstance(rest["data"], dict):
        return rest["data"]
    return rest or None
