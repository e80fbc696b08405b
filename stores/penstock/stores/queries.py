"""The questions that can be asked of a SQL store: plain values, the same for every backend."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.stores.filters import Condition
from penstock.stores.search import Search


class Position(NamedTuple):
    """Where a page ended: the last item's time and id."""

    at_us: int
    id: bytes | str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuery:
    """Which messages. Every field that is given must match."""

    session_id: str | None = None
    user_id: str | None = None
    roles: Sequence[str] = ()
    message_types: Sequence[str] = ()
    platform: str | None = None
    channel_id: str | None = None
    thread_id: str | None = None
    bot_user_id: str | None = None
    engine_session_id: str | None = None
    provider_session_id: str | None = None
    provider_type: str | None = None
    since_us: int | None = None
    """Created at or after."""
    until_us: int | None = None
    """Created before."""
    include_deleted: bool = False
    where: Condition | None = None
    """Of the metadata."""
    ascending: bool = True
    limit: int = 100
    after: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundQuery:
    """Which messages have words in them, of those that are not deleted. The newest come first."""

    search: Search
    session_id: str | None = None
    user_id: str | None = None
    roles: Sequence[str] = ()
    since_us: int | None = None
    """Created at or after."""
    until_us: int | None = None
    """Created before."""
    limit: int = 100
    after: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Which sessions."""

    user_id: str | None = None
    platform: str | None = None
    since_us: int | None = None
    """The last message created at or after."""
    until_us: int | None = None
    """The last message created before."""
    with_last_message: bool = False
    limit: int = 100
    after: Position | None = None
    """(last_message_at, session id) of the last one seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which log events."""

    agent_id: str | None = None
    task_id: str | None = None
    event: str | None = None
    level: int | None = None
    min_level: int | None = None
    since_us: int | None = None
    until_us: int | None = None
    where: Condition | None = None
    """Of the data."""
    ascending: bool = True
    limit: int = 100
    after: Position | None = None
    trouble: bool | None = field(init=False)
    """Follows from the levels: only warnings and what is worse, which are few and have an index of their own."""

    def __post_init__(self) -> None:
        least = max(self.level or 0, self.min_level or 0)
        object.__setattr__(self, "trouble", least >= logging.WARNING or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """Which tasks. Deleted ones are never among them."""

    agent_id: str | None = None
    status: str | None = None
    task_type: str | None = None
    enabled: bool | None = None
    since_us: int | None = None
    """Created at or after."""
    until_us: int | None = None
    """Created before."""
    where: Condition | None = None
    """Of the data."""
    ascending: bool = True
    limit: int = 100
    after: Position | None = None
    """(created_at, task id) of the last one seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStateQuery:
    """Which agent states."""

    state: str | None = None
    roles: Sequence[str] = ()
    active: bool | None = None
    """Only those that are not `archived`; False for only those that are."""
    limit: int = 100
    after: Position | None = None
    """(0, agent id) of the last one seen: they come by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextQuery:
    """Which contexts, of those that have not expired at `now_us`."""

    now_us: int
    agent_id: str | None = None
    session_id: str | None = None
    since_us: int | None = None
    """Created at or after."""
    until_us: int | None = None
    """Created before."""
    where: Condition | None = None
    """Of the data."""
    ascending: bool = True
    limit: int = 100
    after: Position | None = None
    """(created_at, context id) of the last one seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValueQuery:
    """Which values of a namespace, of those that have not expired at `now_us`."""

    now_us: int
    namespace: str
    prefix: str = ""
    """Literal: `%`, `_` and `*` mean themselves."""
    limit: int = 100
    after: Position | None = None
    """(0, key) of the last one seen: they come by key."""
    prefix_end: str | None = field(init=False)
    """Follows from the prefix: the first text after all that begin with it; None where there is no such text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix_end", _end_of(self.prefix))


def _end_of(prefix: str) -> str | None:
    """In the order of code points, which is that of every store. Surrogates are no text."""
    body = prefix.rstrip(chr(sys.maxunicode))
    return body[:-1] + chr(_AFTER.get(body[-1], ord(body[-1]) + 1)) if body else None


_AFTER = {"\ud7ff": 0xE000}
