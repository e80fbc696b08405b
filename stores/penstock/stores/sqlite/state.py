"""State in an open transaction: read the rows that a batch names, change them, write those that are other now."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import orjson

from penstock.stores.schemas import refuse_state
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite.schema import schema_version
from penstock.stores.states import ROW_TYPES, RowType, States, Was, placed
from penstock.wire.records import AgentState, Context, KeyValue, Task

_SQL = statements("penstock.stores.sqlite")

_SUBJECTS: dict[RowType, str] = {
    Task: "task",
    AgentState: "agent_state",
    Context: "context",
    KeyValue: "key_value",
}


def write(connection: sqlite3.Connection, states: States) -> int:
    """Write *states*. Returns how many of its records took effect."""
    return sum(_write_table(connection, states, table) for table in ROW_TYPES if states.records[table])


def _write_table(connection: sqlite3.Connection, states: States, table: RowType) -> int:
    subject = _SUBJECTS[table]
    keys = orjson.dumps(states.keys(table)).decode()
    stored = connection.execute(_SQL[f"{subject}_rows"], {"keys": keys})
    rows, taken = states.changed(table, [table(*row) for row in stored])
    connection.executemany(_SQL[f"write_{subject}"], rows)
    return taken


def put(connection: sqlite3.Connection, records: Sequence[KeyValue], now_us: int, *, if_absent: bool) -> list[Was]:
    """See `KeyValueStore.put`."""
    refuse_state(schema_version(connection))
    keys = orjson.dumps(sorted({(record.namespace, record.key) for record in records})).decode()
    stored = connection.execute(_SQL["key_value_rows"], {"keys": keys})
    rows, was = placed([KeyValue(*row) for row in stored], records, now_us, if_absent=if_absent)
    connection.executemany(_SQL["write_key_value"], rows)
    return was
