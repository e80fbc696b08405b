"""Walking a table: every row as the record that makes it, in the order of its key. The same for every SQL backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias, get_type_hints

from penstock.stores.questions import Question, Questions
from penstock.stores.tombstones import WHOLE_SESSION
from penstock.wire.records import (
    AgentState,
    Context,
    KeyValue,
    LogEvent,
    Message,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
)

Key: TypeAlias = tuple[Any, ...]
"""Compares as the backends do: ids as bytes, texts by code points."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be walked."""

    name: str
    subject: str
    """What the columns are called by in the backends' files: `<subject>_columns`."""
    record: type[Record]
    key: tuple[str, ...]
    """The fields that the rows are ordered by; no two rows have the same."""
    _flags: tuple[int, ...] = field(init=False)
    _fractions: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        kinds = list(get_type_hints(self.record).values())
        object.__setattr__(self, "_flags", tuple(at for at, kind in enumerate(kinds) if kind is bool))
        object.__setattr__(self, "_fractions", tuple(at for at, kind in enumerate(kinds) if kind == float | None))

    def key_of(self, record: Record) -> Key:
        """The place of *record* in the table."""
        values = attrgetter(*self.key)(record)
        if isinstance(record, MessageDeletion):
            return record.session_id, record.message_id or WHOLE_SESSION
        return values if len(self.key) > 1 else (values,)

    def record_of(self, row: Sequence[Any]) -> Record:
        """*row*, whose columns come in the order of the record's fields, with values alike from every backend."""
        values = list(row)
        for at in self._flags:
            values[at] = bool(values[at])
        for at in self._fractions:
            if values[at] is not None:
                values[at] += 0.0  # SQLite keeps no sign of a zero
        if self.record is MessageDeletion:
            values[3] = values[3] or None
        return self.record(*values)


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table("deletions", "deletion", MessageDeletion, ("session_id", "message_id")),
        Table("messages", "message", Message, ("created_at_us", "id")),
        Table("chunks", "chunk", StreamChunk, ("stream_id", "seq")),
        Table("logs", "log", LogEvent, ("created_at_us", "id")),
        Table("tasks", "task", Task, ("task_id",)),
        Table("agent_states", "agent_state", AgentState, ("agent_id",)),
        Table("contexts", "context", Context, ("context_id",)),
        Table("key_values", "key_value", KeyValue, ("namespace", "key")),
    )
}
"""Every table, in the order in which a copy is written: what was deleted first, so that it does not come back.

Messages come by time, not by id: a session is its first named user's, also in the copy.
"""


class SqlWalking(ABC):
    """`SqlReading.walk` in terms of one method that asks the backend."""

    _questions: Questions

    @abstractmethod
    async def _ask(self, question: Question) -> Sequence[Any]:
        """The rows. Raises store errors."""

    async def walk(self, table: str, after: Record | None, limit: int) -> Sequence[Record]:
        """See `SqlReading.walk`."""
        walked = TABLES[table]
        rows = await self._ask(question(self._questions, walked, after, limit))
        return [walked.record_of(row) for row in rows]


def question(questions: Questions, table: Table, after: Record | None, limit: int) -> Question:
    """What a page of a walk is asked by."""
    sql = questions.named(f"{table.subject}_columns").sql
    values: dict[str, Any] = {"limit": limit}
    if after is not None:
        sql += f"\nWHERE {questions.named(f'{table.subject}_walk_after').sql}"
        values |= dict(zip(table.key, table.key_of(after), strict=True))
    return Question(f"{sql}\n{questions.named(f'{table.subject}_walk_order').sql}", values)
