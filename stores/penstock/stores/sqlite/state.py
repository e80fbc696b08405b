"""State in an open transaction: read the rows that a batch names, change them, write those that are other now."""

from __future__ import annotations

import sqlite3

import orjson

from penstock.stores.sqlfiles import statements
from penstock.stores.states import ROW_TYPES, RowType, States
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
