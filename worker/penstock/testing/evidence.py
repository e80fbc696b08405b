"""What is found in stores and dead letters, as it lies there. `check` fills it; for a store of your own you may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class StoredMessage(NamedTuple):
    """A row of messages."""

    id: str
    """36 characters, lower case."""
    session: str
    created_at_us: int
    content: str | None
    state: str
    """`complete`, `interrupted` or `streaming`."""
    deleted: bool


class StoredLog(NamedTuple):
    """A row of logs."""

    id: str
    event: str
    message: str | None


class StoredVector(NamedTuple):
    """A row of a collection."""

    collection: str
    key: str
    vector: bytes
    """Float32, in the machine's order."""


class StoredValue(NamedTuple):
    """A key-value that is not deleted."""

    namespace: str
    key: str
    value: Any
    """Decoded."""


class DeadRecord(NamedTuple):
    """A dead letter, unpacked by hand."""

    partition: str
    id: str
    kind: int
    """The record's code on the wire; 0 where the letter holds no record."""
    fields: tuple[Any, ...]
    counts_for: int
    reason: str


class Balance(NamedTuple):
    """The counters of one partition, and what lies there."""

    accepted: int
    stored: int
    skipped: int
    pending: int
    buffered: int
    dead: int
    purged: int
    in_log: int
    in_letters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was found."""

    messages: list[StoredMessage] = field(default_factory=list)
    """In the order of created_at and id."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """Each session's own count of its messages."""
    logs: list[StoredLog] = field(default_factory=list)
    vectors: list[StoredVector] = field(default_factory=list)
    values: list[StoredValue] = field(default_factory=list)
    dead: list[DeadRecord] = field(default_factory=list)
    balances: Mapping[str, Balance] = field(default_factory=dict)
    """By partition, `lane:number`."""
