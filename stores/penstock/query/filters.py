"""What a caller may ask for, turned into the stores' own questions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypedDict

from penstock.query.page import InvalidQuery
from penstock.wire.building import level_number
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import to_us
from penstock.wire.text import clean_text

Moment = datetime | int
"""An aware `datetime`, or microseconds since 1970 UTC."""


class MessageFilters(TypedDict, total=False):
    """Which messages. None is the same as not given."""

    user_id: str | None
    role: str | None
    platform: str | None
    engine_session_id: str | uuid.UUID | None
    provider_session_id: str | None
    provider_type: str | None
    message_types: Sequence[str] | None
    """Any of these."""
    since: Moment | None
    """Created at or after."""
    until: Moment | None
    """Created before."""
    include_deleted: bool


class LogFilters(TypedDict, total=False):
    """Which log events. None is the same as not given."""

    agent_id: str | None
    task_id: str | None
    event: str | None
    level: str | int | None
    """Exactly this level, by name or number."""
    min_level: str | int | None
    """This level and what is worse."""
    since: Moment | None
    """Created at or after."""
    until: Moment | None
    """Created before."""


class SessionFilters(TypedDict, total=False):
    """Which sessions. None is the same as not given."""

    user_id: str | None
    platform: str | None


@contextmanager
def checked_values() -> Iterator[None]:
    """The wire's checks are those of a record; here they are those of a question."""
    try:
        yield
    except InvalidRecord as exc:
        raise InvalidQuery(str(exc)) from exc


def message_words(session_id: str | None, filters: MessageFilters) -> dict[str, Any]:
    """The fields of a `MessageQuery`. Raises `InvalidQuery`."""
    return _words({"session_id": session_id, **filters}, {"session_id", *MessageFilters.__annotations__})


def log_words(filters: LogFilters) -> dict[str, Any]:
    """The fields of a `LogQuery`. Raises `InvalidQuery`."""
    return _words(filters, LogFilters.__annotations__)


def session_words(filters: SessionFilters) -> dict[str, Any]:
    """The fields of a `SessionQuery`. Raises `InvalidQuery`."""
    return _words(filters, SessionFilters.__annotations__)


def _words(filters: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for name, value in filters.items():
        if name not in known:
            raise InvalidQuery(f"no filter is called {name!r}; known are {', '.join(sorted(known))}")
        if value is not None:
            word, convert = _CONVERTED.get(name, (name, _text))
            with checked_values():
                words[word] = convert(name, value)
    return words


def _moment(name: str, value: Any) -> int:
    return to_us(value, name)


def _level(_name: str, value: Any) -> int:
    return level_number(value)


def _several(name: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(name, each) for each in ([value] if isinstance(value, str) else value))


def _flag(_name: str, value: Any) -> bool:
    return bool(value)


def _text(name: str, value: Any) -> str:
    """*value* as it would have been stored."""
    return str(value) if isinstance(value, uuid.UUID) else clean_text(name, value)


_CONVERTED: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "since": ("since_us", _moment),
    "until": ("until_us", _moment),
    "level": ("level", _level),
    "min_level": ("min_level", _level),
    "message_types": ("message_types", _several),
    "include_deleted": ("include_deleted", _flag),
}
