"""State records and deletions that the tests of SQL stores write."""

from __future__ import annotations

from typing import Any

from penstock.stores.contract import SqlStore
from penstock.stores.queries import AgentStateQuery, ContextQuery, KeyValueQuery, TaskQuery
from penstock.stores.states import Row
from penstock.testing.conformance.records import START_US
from penstock.wire.ids import id_from_key
from penstock.wire.records import AgentState, Context, KeyValue, MessageDeletion, Task, TaskStatus

FAR_US = START_US + 1_000_000
"""Later than every record made here."""


def stamp(number: int) -> bytes:
    """The stamp with that number: they rise with it."""
    return number.to_bytes(8, "big") + b"producer"


def _head(name: str, number: int) -> tuple[bytes, int, bytes]:
    return id_from_key(f"{name}{number}"), START_US + number, stamp(number)


def task(number: int, task_id: str = "t", **fields: Any) -> Task:
    """The save of a task at that time, under that stamp."""
    return Task(*_head("task", number), task_id, **{"description": f"save {number}", **fields})


def task_status(number: int, status: str = "running", task_id: str = "t", **fields: Any) -> TaskStatus:
    return TaskStatus(*_head("status", number), task_id, status, **fields)


def agent_state(number: int, agent_id: str = "a", **fields: Any) -> AgentState:
    return AgentState(*_head("state", number), agent_id, **{"goal": f"save {number}", **fields})


def context(number: int, context_id: str = "c", **fields: Any) -> Context:
    return Context(*_head("context", number), context_id, **{"data": b'{"save":%d}' % number, **fields})


def key_value(number: int, key: str = "k", namespace: str = "n", **fields: Any) -> KeyValue:
    return KeyValue(*_head("value", number), namespace, key, **{"value": b"%d" % number, **fields})


def deleted(number: int, of: Row) -> Row:
    """The deletion, at that time, of what *of* is about."""
    make: Any = {Task: task, AgentState: agent_state, Context: context, KeyValue: key_value}[type(of)]
    emptied: dict[str, Any] = {}
    if isinstance(of, KeyValue):
        emptied = {"key": of.key, "namespace": of.namespace, "value": None}
    elif isinstance(of, Task):
        emptied = {"task_id": of.task_id, "description": None, "status": "deleted"}
    elif isinstance(of, AgentState):
        emptied = {"agent_id": of.agent_id, "goal": None, "state": "deleted"}
    else:
        emptied = {"context_id": of.context_id, "data": None}
    row: Row = make(number, **emptied, deleted_at_us=START_US + number)
    return row


def kept(record: Row, **changed: Any) -> Row:
    """The row that *record* leaves where nothing was before it."""
    return record._replace(**{"first_at_us": record.created_at_us, **changed})


def ordered(rows: list[Row]) -> list[Row]:
    """In one order, whatever the kinds."""
    return sorted(rows, key=lambda row: (type(row).__name__, row[3:5]))


def forgotten(number: int, session: str = "s") -> MessageDeletion:
    """The deletion of a session, at that time."""
    return MessageDeletion(id_from_key(f"forgotten{session}{number}"), START_US + number, session)


def hidden(number: int, message_number: int, session: str = "s") -> MessageDeletion:
    """The deletion of one message, at that time."""
    record_id = id_from_key(f"hidden{session}{message_number} {number}")
    return MessageDeletion(record_id, START_US + number, session, id_from_key(f"m{message_number}"))


SAVES: tuple[Any, ...] = (task, agent_state, context, key_value)
"""What makes a record of each kind that is saved as a whole."""


async def readable(store: SqlStore) -> list[str]:
    """The keys of all state that can be read; as many as the counts tell."""
    tasks = await store.tasks(TaskQuery())
    states = await store.agent_states(AgentStateQuery())
    contexts = await store.contexts(ContextQuery(now_us=START_US + 50))
    values = await store.key_values(KeyValueQuery(now_us=START_US + 50, namespace="n"))
    assert await store.count_tasks(TaskQuery()) == len(tasks)
    assert await store.count_contexts(ContextQuery(now_us=START_US + 50)) == len(contexts)
    return [
        *(each.id for each in tasks),
        *(each.agent_id for each in states),
        *(each.id for each in contexts),
        *(each.key for each in values),
    ]
