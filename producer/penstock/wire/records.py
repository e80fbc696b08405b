"""What is sent: the record kinds, their fields in wire order, and the lane of each.

A new kind is one class here, one line in `KINDS`, its builder in `building`, its SQL and its tests.
Fields are positional on the wire and are only ever appended: an older frame is read with the
defaults of the fields it does not know (`frames`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""Largest encoded record. A larger one is refused at the call."""


class Message(NamedTuple):
    """One message of a session. Two messages with the same `id` are the same message."""

    id: bytes
    """16 bytes; UUIDv7, or the caller's own. Chosen before the first send, so a retry reuses it."""
    created_at_us: int
    """Producer's clock, microseconds since 1970 UTC, strictly rising within one producer: the order of a session."""
    session_id: str
    role: str
    content: str | None = None
    metadata: bytes | None = None
    """A JSON object, UTF-8."""
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
    updated_at_us: int | None = None
    deleted_at_us: int | None = None
    state: str | None = None
    """None for complete, or `streaming` or `interrupted` (a stream's row that may still grow)."""
    version: int = 0
    """A stored row is replaced only by a higher version. 0 unless the message came as a stream."""
    normalised: bool = False
    """Some text held NUL or a lone surrogate, now U+FFFD."""


class StreamChunk(NamedTuple):
    """A run of consecutive chunks of one stream, joined. Several make one `Message`."""

    id: bytes
    created_at_us: int
    """When the stream was opened: the place of its message in the session."""
    session_id: str
    role: str
    stream_id: bytes
    """16 bytes; becomes the message's id."""
    seq: int
    """Number of the first chunk in this run, from 0."""
    chunks: int
    """How many chunks this run joins; 0 for an end marker alone."""
    text: str
    end: str | None = None
    """None while the stream is open, then `complete` or `interrupted`."""
    fields: bytes | None = None
    """The message's other fields as a JSON object; in the first run and in the last."""
    normalised: bool = False


class LogEvent(NamedTuple):
    """One thing that happened, for people to read later."""

    id: bytes
    created_at_us: int
    level: int
    """As in `logging`: 10 debug, 20 info, 30 warning, 40 error, 50 critical."""
    event: str
    message: str | None = None
    agent_id: str | None = None
    task_id: str | None = None
    data: bytes | None = None
    """A JSON object, UTF-8."""
    normalised: bool = False


class Embedding(NamedTuple):
    """One vector of a collection, replaced by a later record of the same `key`."""

    id: bytes
    """The record's own id. The vector is identified by `collection` and `key`."""
    created_at_us: int
    """Also the version: a stored vector is replaced only by a later one."""
    collection: str
    key: str
    vector: bytes
    """Little-endian float32, finite, of the collection's dimension. Empty: the worker's embedder makes it of `text`."""
    text: str | None = None
    metadata: bytes | None = None
    """A JSON object, UTF-8."""
    normalised: bool = False


class EmbeddingDeletion(NamedTuple):
    """One vector of a collection, gone. What is older does not bring it back; a later `Embedding` does."""

    id: bytes
    """The record's own id. The vector is identified by `collection` and `key`."""
    created_at_us: int
    """When it was deleted, and the version: vectors that were created after it are not concerned."""
    collection: str
    key: str


class Task(NamedTuple):
    """All that is known of one task, replaced by a later save of the same `task_id`.

    What was saved of a task and its status are kept apart, each under its own stamp: neither a late save nor a late
    change of status undoes the newer other one.
    """

    id: bytes
    created_at_us: int
    """When it was saved."""
    stamp: bytes
    """16 bytes (`ids.StampClock`); a stored task is replaced only by a higher one."""
    task_id: str
    status: str = "pending"
    agent_id: str | None = None
    task_type: str | None = None
    priority: str | None = None
    enabled: bool = True
    description: str | None = None
    data: bytes | None = None
    """A JSON object, UTF-8."""
    last_run_at_us: int | None = None
    next_run_at_us: int | None = None
    started_at_us: int | None = None
    completed_at_us: int | None = None
    duration_s: float | None = None
    result: bytes | None = None
    """Any JSON value, UTF-8."""
    error: str | None = None
    deleted_at_us: int | None = None
    """Given: the task is deleted, and this record is what remains of it for a while."""
    normalised: bool = False
    first_at_us: int | None = None
    """When it was saved first; a store fills it in."""
    status_stamp: bytes | None = None
    """Stamp of `status` and what follows from it, where another than `stamp`; a store fills it in."""


class TaskStatus(NamedTuple):
    """A change of a task's status. What is None here stays as it was."""

    id: bytes
    created_at_us: int
    stamp: bytes
    task_id: str
    status: str
    last_run_at_us: int | None = None
    next_run_at_us: int | None = None
    started_at_us: int | None = None
    completed_at_us: int | None = None
    duration_s: float | None = None
    result: bytes | None = None
    error: str | None = None
    normalised: bool = False


class AgentState(NamedTuple):
    """The state of one agent, replaced by a later one."""

    id: bytes
    created_at_us: int
    stamp: bytes
    agent_id: str
    state: str = "idle"
    role: str | None = None
    goal: str | None = None
    backstory: str | None = None
    last_task_id: str | None = None
    stats: bytes | None = None
    """A JSON object, UTF-8."""
    deleted_at_us: int | None = None
    normalised: bool = False
    first_at_us: int | None = None


class Context(NamedTuple):
    """What an agent keeps for a while, replaced by a later one of the same `context_id`."""

    id: bytes
    created_at_us: int
    stamp: bytes
    context_id: str
    data: bytes | None = None
    """A JSON object, UTF-8."""
    agent_id: str | None = None
    session_id: str | None = None
    expires_at_us: int | None = None
    """From then on it is not there."""
    deleted_at_us: int | None = None
    normalised: bool = False
    first_at_us: int | None = None


class KeyValue(NamedTuple):
    """One value under its key, replaced by a later one."""

    id: bytes
    created_at_us: int
    stamp: bytes
    namespace: str
    key: str
    value: bytes | None = None
    """Any JSON value, UTF-8."""
    expires_at_us: int | None = None
    """From then on it is not there."""
    deleted_at_us: int | None = None
    normalised: bool = False
    first_at_us: int | None = None


class MessageDeletion(NamedTuple):
    """One message marked as deleted, or a whole session removed.

    Whatever the session got up to the deletion is removed, and also what of it comes late.
    """

    id: bytes
    created_at_us: int
    """When it was deleted. Messages created after it are not concerned."""
    session_id: str
    message_id: bytes | None = None
    """None for the whole session."""


Record: TypeAlias = (
    Message
    | StreamChunk
    | LogEvent
    | Embedding
    | Task
    | TaskStatus
    | AgentState
    | Context
    | KeyValue
    | MessageDeletion
    | EmbeddingDeletion
)

VectorRecord: TypeAlias = Embedding | EmbeddingDeletion
"""What the lane `embeddings` carries."""

StateRecord: TypeAlias = Task | TaskStatus | AgentState | Context | KeyValue
"""What the lane `state` carries."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the wire knows of a record class."""

    code: int
    """First element of the encoded record. Never reused."""
    name: str
    lane: str
    record: type[Record]


KINDS = (
    Kind(1, "message", "messages", Message),
    Kind(2, "stream_chunk", "messages", StreamChunk),
    Kind(3, "log_event", "logs", LogEvent),
    Kind(4, "embedding", "embeddings", Embedding),
    Kind(5, "task", "state", Task),
    Kind(6, "task_status", "state", TaskStatus),
    Kind(7, "agent_state", "state", AgentState),
    Kind(8, "context", "state", Context),
    Kind(9, "key_value", "state", KeyValue),
    Kind(10, "message_deletion", "messages", MessageDeletion),
    Kind(11, "embedding_deletion", "embeddings", EmbeddingDeletion),
)

LANES = tuple(dict.fromkeys(kind.lane for kind in KINDS))
"""Every lane, in a fixed order."""

_BY_CLASS: dict[type[Record], Kind] = {kind.record: kind for kind in KINDS}


def kind_of(record: Record) -> Kind:
    """The kind of *record*."""
    return _BY_CLASS[type(record)]
