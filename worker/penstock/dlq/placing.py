"""The partition that a dead letter belongs to, where there are more or fewer of them than where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock.wire.entries import DeadEntry
from penstock.wire.errors import FrameError
from penstock.wire.frames import decode
from penstock.wire.keys import Partition, partition_of
from penstock.wire.records import (
    AgentState,
    Context,
    Embedding,
    EmbeddingDeletion,
    KeyValue,
    LogEvent,
    Message,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
    TaskStatus,
)


def place_of(entry: DeadEntry, partitions: int) -> Partition:
    """Where what *entry* holds is kept in order among as many *partitions*.

    What holds no record, or one without an ordering key of its own, goes by the number that it had.
    """
    where = entry.partition
    try:
        key = ordering_key(decode(entry.letter.record))
    except FrameError:
        key = ""
    return Partition(where.lane, partition_of(key, partitions) if key else where.number % partitions)


def ordering_key(record: Record) -> str:
    """What the producer's calls keep *record* in order by; empty for a log event of nobody, ordered by its sender.

    `test_a_letter_goes_where_a_producer_sends_its_record` holds it to the producer's calls.
    """
    return _KEYS[type(record)](record)


def _of_session(record: Any) -> str:
    return str(record.session_id)


def _of_collection(record: Any) -> str:
    return str(record.collection)


def _of_task(record: Any) -> str:
    return f"task:{record.task_id}"


_KEYS: Mapping[type[Record], Callable[[Any], str]] = {
    Message: _of_session,
    StreamChunk: _of_session,
    MessageDeletion: _of_session,
    LogEvent: lambda record: record.task_id or record.agent_id or "",
    Embedding: _of_collection,
    EmbeddingDeletion: _of_collection,
    Task: _of_task,
    TaskStatus: _of_task,
    AgentState: lambda record: f"agent:{record.agent_id}",
    Context: lambda record: f"context:{record.context_id}",
    KeyValue: lambda record: f"{record.namespace}:{record.key}",
}
