"""The records of a batch by what becomes of them. The same for every SQL backend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from penstock.stores.errors import StoreRejected
from penstock.stores.soundness import refuse_unsound
from penstock.stores.states import States, is_state
from penstock.wire.records import LogEvent, Message, MessageDeletion, Record, StateRecord, StreamChunk


class Sorted(NamedTuple):
    """A batch, each table's records in their order."""

    messages: Sequence[Message]
    chunks: Sequence[StreamChunk]
    logs: list[LogEvent]
    deletions: list[MessageDeletion]
    states: States | None
    """None where there are none."""


def sort(records: Iterable[Record]) -> Sorted:
    """*records* by table.

    Raises:
        StoreRejected: One that no SQL store keeps, or with a field that none does.
    """
    messages: list[Message] = []
    chunks: list[StreamChunk] = []
    logs: list[LogEvent] = []
    deletions: list[MessageDeletion] = []
    states: list[StateRecord] = []
    for record in records:
        refuse_unsound(record)
        if isinstance(record, Message):
            messages.append(record)
        elif isinstance(record, LogEvent):
            logs.append(record)
        elif isinstance(record, StreamChunk):
            chunks.append(record)
        elif isinstance(record, MessageDeletion):
            deletions.append(record)
        elif is_state(record):
            states.append(record)
        else:
            raise StoreRejected("this store keeps no vectors; an embedding belongs to PENSTOCK_VECTOR_URL")
    return Sorted(messages, chunks, logs, deletions, States(states) if states else None)


def chunk_row(chunk: StreamChunk) -> tuple[Any, ...]:
    """Stream id, seq, chunks, text, created_at."""
    return chunk.stream_id, chunk.seq, chunk.chunks, chunk.text, chunk.created_at_us
