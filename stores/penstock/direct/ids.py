"""What a direct call returns: the id by which its record is read back."""

from __future__ import annotations

from penstock.wire.ids import format_id
from penstock.wire.records import AgentState, Context, KeyValue, MessageDeletion, Record, Task, TaskStatus


def id_of(record: Record) -> str:
    """The caller's own id of state, the key of a key-value; a deletion's is that of what it deletes."""
    if isinstance(record, Task | TaskStatus):
        return record.task_id
    if isinstance(record, AgentState):
        return record.agent_id
    if isinstance(record, Context):
        return record.context_id
    if isinstance(record, KeyValue):
        return record.key
    if isinstance(record, MessageDeletion):
        return record.session_id if record.message_id is None else format_id(record.message_id)
    return format_id(record.id)
