"""What is read back, and the questions that can be asked: plain values, the same for every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message as it is stored. Times are aware, in UTC, to the microsecond."""

    id: str
    session_id: str
    role: str
    content: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    user_id: str | None = None
    message_type: str | None = None
    platform: str | None = None
    from_user_id: str | None = None
    from_user_name: str | None = None
    to_user_id: str | None = None
    channel_id: str | None = None
    thread_id: str | None = None
    bot_user_id: str | None = None
    engine_session_id: str | None = None
    engine_namespace: str | None = None
    provider_session_id: str | None = None
    provider_type: str | None = None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    state: str = "complete"
    """`complete`, or `streaming` or `interrupted`: a stream's text so far."""
    version: int = 0
    normalised: bool = False
    """Some text held NUL or a lone surrogate, stored as U+FFFD."""

    @property
    def deleted(self) -> bool:
        """Whether the message was deleted softly."""
        return self.deleted_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLog:
    """One log event as it is stored."""

    id: str
    created_at: datetime
    level: str
    """Lower-case name, or the number as text where it has none."""
    event: str
    message: str | None = None
    agent_id: str | None = None
    task_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    normalised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is known of a session. Kept in the transaction that stores its messages."""

    id: str
    user_id: str | None
    """Of the first message that named one."""
    platform: str | None
    message_count: int
    first_message_at: datetime
    last_message_at: datetime
    last_message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One result of a vector search."""

    id: str
    score: float
    """Cosine similarity, -1 to 1; higher is nearer."""
    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


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
