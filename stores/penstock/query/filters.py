"""What a caller may ask for, turned into the stores' own questions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypedDict

from penstock.query.page import InvalidQuery
from penstock.stores.filters import Condition, parse
from penstock.wire.building import level_number
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import given_us
from penstock.wire.text import clean_text

Moment = datetime | int
"""An aware `datetime`, or microseconds since 1970 UTC."""


class MessageFilters(TypedDict, total=False):
    """Which messages. None is the same as not given."""

    user_id: str | None
    role: str | Sequence[str] | None
    """This one, or any of these."""
    message_types: str | Sequence[str] | None
    """This one, or any of these."""
    platform: str | None
    channel_id: str | None
    thread_id: str | None
    bot_user_id: str | None
    engine_session_id: str | uuid.UUID | None
    provider_session_id: str | None
    provider_type: str | None
    since: Moment | None
    """Created at or after."""
    until: Moment | None
    """Created before."""
    include_deleted: bool
    where: Mapping[str, Any] | None
    """A filter of the metadata, as in `Reader.search`."""


class SearchFilters(TypedDict, total=False):
    """Which messages are searched. None is the same as not given."""

    session_id: str | None
    user_id: str | None
    role: str | Sequence[str] | None
    """This one, or any of these."""
    since: Moment | None
    """Created at or after."""
    until: Moment | None
    """Created before."""


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
    where: Mapping[str, Any] | None
    """A filter of the data."""


class SessionFilters(TypedDict, total=False):
    """Which sessions. None is the same as not given."""

    user_id: str | None
    platform: str | None
    since: Moment | None
    """The last message created at or after."""
    until: Moment | None
    """The last message created before."""


class TaskFilters(TypedDict, total=False):
    """Which tasks. None is the same as not given."""

    agent_id: str | None
    status: str | None
    task_type: str | None
    enabled: bool | None
    since: Moment | None
    """First saved at or after."""
    until: Moment | None
    """First saved before."""
    where: Mapping[str, Any] | None
    """A filter of the data."""


class AgentStateFilters(TypedDict, total=False):
    """Which agents' states. None is the same as not given."""

    active: bool | None
    """True for those that are not `archived`, False for those that are."""
    state: str | None
    role: str | Sequence[str] | None
    """This one, or any of these."""


class ContextFilters(TypedDict, total=False):
    """Which contexts. None is the same as not given."""

    agent_id: str | None
    session_id: str | None
    since: Moment | None
    """First saved at or after."""
    until: Moment | None
    """First saved before."""
    where: Mapping[str, Any] | None
    """A filter of the data."""


@contextmanager
def checked_values() -> Iterator[None]:
    """The wire's checks are those of a record; here they are those of a question."""
    try:
        yield
    except InvalidRecord as exc:
        raise InvalidQuery(str(exc)) from exc


def words(known: type, filters: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """*filters* and *more* as the fields of a query. *known* is the class of the filters.

    Raises:
        InvalidQuery: No such filter, or a value that it cannot have.
        FilterError: The filter `where` is malformed.
    """
    found: dict[str, Any] = {}
    for name, value in {**more, **filters}.items():
        if name not in more and name not in known.__annotations__:
            names = sorted({*more, *known.__annotations__})
            raise InvalidQuery(f"no filter is called {name!r}; known are {', '.join(names)}")
        if value is not None:
            word, convert = _CONVERTED.get(name, (name, _text))
            with checked_values():
                found[word] = convert(name, value)
    return found


def _moment(name: str, value: Any) -> int:
    return given_us(value, name)


def _level(_name: str, value: Any) -> int:
    return level_number(value)


def _several(name: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(name, each) for each in ([value] if isinstance(value, str) else value))


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRecord(name, value, "True or False is needed")
    return value


def _condition(_name: str, value: Any) -> Condition:
    return parse(value)


def _text(name: str, value: Any) -> str:
    """*value* as it would have been stored."""
    return str(value) if isinstance(value, uuid.UUID) else clean_text(name, value)


_CONVERTED: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "since": ("since_us", _moment),
    "until": ("until_us", _moment),
    "level": ("level", _level),
    "min_level": ("min_level", _level),
    "role": ("roles", _several),
    "message_types": ("message_types", _several),
    "include_deleted": ("include_deleted", _flag),
    "enabled": ("enabled", _flag),
    "active": ("active", _flag),
    "where": ("where", _condition),
}
