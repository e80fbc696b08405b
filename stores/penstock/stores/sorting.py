"""The records of a batch by what becomes of them. The same for every SQL backend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from penstock.stores.errors import StoreRejected
from penstock.stores.states import States, is_state
from penstock.wire.records import LogEvent, Message, MessageDeletion, Record, StateRecord, StreamChunk


class Sorted(NamedTuple):
    """A batch, each table's records in their order."""

    messages: list[Message]
    chunks: list[tuple[Any, ...]]
    """Rows: stream id, seq, chunks, text, created_at."""
    logs: list[LogEvent]
    deletions: list[MessageDeletion]
    states: States | None
    """None where there are none."""


def sort(records: Iterable[Record]) -> Sorted:
    """*records* by table.

    Raises:
        StoreRejected: One that no SQL store keeps.
    """
    messages: list[Message] = []
    chunks: list[tuple[Any, ...]] = []
    logs: list[LogEvent] = []
    deletions: list[MessageDeletion] = []
    states: list[StateRecord] = []
    for record in records:
        if isinstance(record, Message):
            messages.append(record)
        elif isinstance(record, LogEvent):
            logs.append(record)
        elif isinstance(record, StreamChunk):
            chunks.append((record.stream_id, record.seq, record.chunks, record.text, record.created_at_us))
        elif isinstance(record, MessageDeletion):
            deletions.append(record)
        elif is_state(record):
            states.append(record)
        else:
            raise StoreRejected("this store keeps no vectors; an embedding belongs to PENSTOCK_VECTOR_URL")
    return Sorted(messages, chunks, logs, deletions, States(states) if states else None)
