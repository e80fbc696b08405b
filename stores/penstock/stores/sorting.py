"""The records of a batch by what becomes of them. The same for every SQL backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.stores.errors import StoreRejected
from penstock.stores.soundness import is_plain, refuse_unsound, refuse_unsound_messages
from penstock.stores.states import States, is_state
from penstock.wire.records import Embedding, LogEvent, Message, MessageDeletion, Record, StreamChunk


class Sorted(NamedTuple):
    """A batch, each table's records in their order."""

    messages: Sequence[Message]
    chunks: Sequence[StreamChunk]
    logs: list[LogEvent]
    deletions: list[MessageDeletion]
    states: States | None
    """None where there are none."""
    are_plain: bool = False
    """Whether all messages are known to be (`is_plain`)."""


def sort(records: Sequence[Record]) -> Sorted:
    """*records* by table.

    Raises:
        StoreRejected: One that no SQL store keeps, or with a field that none does.
    """
    by_kind: dict[type[Record], list[Any]] = {}
    for record in records:
        by_kind.setdefault(type(record), []).append(record)
    messages = by_kind.pop(Message, [])
    if Embedding in by_kind:
        raise StoreRejected("this store keeps no vectors; an embedding belongs to PENSTOCK_VECTOR_URL")
    plain = [message for message in messages if is_plain(message)]
    refuse_unsound_messages(messages, plain)
    for each in by_kind.values():
        refuse_unsound(each)
    chunks, logs, deletions = (by_kind.pop(kind, []) for kind in (StreamChunk, LogEvent, MessageDeletion))
    states = States(record for record in records if is_state(record)) if by_kind else None
    return Sorted(messages, chunks, logs, deletions, states, are_plain=len(plain) == len(messages))


def chunk_row(chunk: StreamChunk) -> tuple[Any, ...]:
    """Stream id, seq, chunks, text, created_at."""
    return chunk.stream_id, chunk.seq, chunk.chunks, chunk.text, chunk.created_at_us
