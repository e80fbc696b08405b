"""What is read back: plain values, the same for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


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
class FoundMessage:
    """A message that a search has found."""

    message: StoredMessage
    snippet: str
    """Its text around the first place that was searched for, on one line, with `…` where it is cut."""


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
    """Deleted ones have their time, too."""
    last_message_id: str
    last_message: StoredMessage | None = None
    """The latest that is not deleted, where it was asked for; None also where all are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One result of a vector search."""

    id: str
    score: float
    """Higher is nearer: cosine similarity (-1 to 1), the dot product, or minus the Euclidean distance."""
    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVector:
    """One vector as it is stored."""

    id: str
    vector: bytes
    """Little-endian float32."""
    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask:
    """One task as it is stored: what was saved of it, and its last change of status."""

    id: str
    status: str
    agent_id: str | None = None
    task_type: str | None = None
    priority: str | None = None
    enabled: bool = True
    description: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    last_run_at: datetime | None = None
    next_run_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_s: float | None = None
    result: Any = None
    error: str | None = None
    created_at: datetime
    updated_at: datetime
    version: str
    """Rises with every change of either part; see `wire.ids.StampClock`."""
    normalised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAgentState:
    """The last state of one agent."""

    agent_id: str
    state: str
    role: str | None = None
    goal: str | None = None
    backstory: str | None = None
    last_task_id: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime
    updated_at: datetime
    version: str
    normalised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContext:
    """One context of an agent."""

    id: str
    data: Mapping[str, Any]
    agent_id: str | None = None
    session_id: str | None = None
    expires_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: str
    normalised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKeyValue:
    """One value under its key."""

    namespace: str
    key: str
    value: Any
    expires_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: str
    normalised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """One text under an id of the caller's."""

    collection: str
    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    embedded: bool = False
    """Whether it was sent with `embed`: its vector is, or will be, in the collection of its name."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatistics:
    """What one agent has done. All zero for an agent that nothing is known of."""

    agent_id: str
    tasks: int
    tasks_by_status: Mapping[str, int]
    success_rate: float | None
    """`completed` among `completed` and `failed` tasks, 0 to 1; None where there are neither."""
    average_duration_s: float | None
    """Of the tasks that have a duration."""
    last_task_at: datetime | None
    """When the newest task was created."""
    logs_by_level: Mapping[str, int]
    """Log events by the name of their level."""
    contexts: int
    """Those that have not expired."""
