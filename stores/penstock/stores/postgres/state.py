"""State in an open transaction: read the rows that a batch names, change them, write those that are other now."""

from __future__ import annotations

from typing import Any

from penstock.stores.postgres.bulk import columns, execute, parts
from penstock.stores.postgres.translation import Collision
from penstock.stores.sqlfiles import statements
from penstock.stores.states import ROW_TYPES, Row, RowType, States, key_of
from penstock.wire.records import AgentState, Context, KeyValue, Task

_SQL = statements("penstock.stores.postgres")

_SUBJECTS: dict[RowType, str] = {
    Task: "task",
    AgentState: "agent_state",
    Context: "context",
    KeyValue: "key_value",
}


async def write(connection: Any, states: States) -> int:
    """Write *states*. Returns how many of its records took effect.

    Raises:
        Collision: Somebody else made one of the rows meanwhile. The transaction must be rolled back.
    """
    return sum([await _write_table(connection, states, table) for table in ROW_TYPES if states.records[table]])


async def _write_table(connection: Any, states: States, table: RowType) -> int:
    subject = _SUBJECTS[table]
    stored: dict[Any, Row] = {}
    for keys in parts(states.keys(table)):
        for row in await connection.fetch(_SQL[f"{subject}_rows"], *columns(keys)):
            known = table(*row)
            stored[key_of(known)] = known
    rows, taken = states.changed(table, stored.values())
    new = [row for row in rows if key_of(row) not in stored]
    await execute(connection, _SQL[f"replace_{subject}s"], [row for row in rows if key_of(row) in stored])
    if await execute(connection, _SQL[f"insert_{subject}s"], new) < len(new):
        # What there was to lock was not there yet, so nothing is known of what is there now.
        raise Collision(f"another transaction has made the same {subject}s; this one must look again")
    return taken
