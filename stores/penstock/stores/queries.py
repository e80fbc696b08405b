"""The questions that can be asked of a SQL store: plain values, the same for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """Where a page ended: the last item's time and id."""

    at_us: int
    id: bytes | str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuery:
    """Which messages. Every field that is given must match."""

    session_id: str | None = None
    user_id: str | None = None
    role: str | None = None
    platform: str | None = None
    engine_session_id: str | None = None
    provider_session_id: str | None = None
    provider_type: str | None = None
    message_types: Sequence[str] = ()
    since_us: int | None = None
    """Created at or after."""
    until_us: int | None = None
    """Created before."""
    include_deleted: bool = False
    ascending: bool = True
    limit: int = 100
    after: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Which sessions."""

    user_id: str | None = None
    platform: str | None = None
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
    ascending: bool = True
    limit: int = 100
    after: Position | None = None


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
    ascending: bool = True
    limit: int = 100
    after: Position | None = None
    """(created_at, task id) of the last one seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStateQuery:
    """Which agent states."""

    state: str | None = None
    role: str | None = None
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
