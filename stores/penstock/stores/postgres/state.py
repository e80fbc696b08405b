"""State in an open transaction: read the rows that a batch names, change them, write those that are other now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.stores.postgres.bulk import columns, execute, parts
from penstock.stores.postgres.translation import Collision
from penstock.stores.sqlfiles import statements
from penstock.stores.states import ROW_TYPES, Key, Row, RowType, States, Was, key_of, placed
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


async def put(connection: Any, records: Sequence[KeyValue], now_us: int, *, if_absent: bool) -> list[Was]:
    """See `KeyValueStore.put`.

    Raises:
        Collision: As for `write`.
    """
    stored: dict[Key, Row] = await _stored(connection, KeyValue, sorted({key_of(record) for record in records}))
    known = [row for row in stored.values() if isinstance(row, KeyValue)]
    rows, was = placed(known, records, now_us, if_absent=if_absent)
    await _replace(connection, KeyValue, rows, stored)
    return was


async def _write_table(connection: Any, states: States, table: RowType) -> int:
    stored = await _stored(connection, table, states.keys(table))
    rows, taken = states.changed(table, stored.values())
    await _replace(connection, table, rows, stored)
    return taken


async def _stored(connection: Any, table: RowType, keys: Sequence[Key]) -> dict[Key, Row]:
    """The rows under *keys*, locked until the commit."""
    stored: dict[Key, Row] = {}
    for some in parts(keys):
        for row in await connection.fetch(_SQL[f"{_SUBJECTS[table]}_rows"], *columns(some)):
            known = table(*row)
            stored[key_of(known)] = known
    return stored


async def _replace(connection: Any, table: RowType, rows: Sequence[Row], stored: dict[Key, Row]) -> None:
    subject = _SUBJECTS[table]
    new = [row for row in rows if key_of(row) not in stored]
    await execute(connection, _SQL[f"replace_{subject}s"], [row for row in rows if key_of(row) in stored])
    if await execute(connection, _SQL[f"insert_{subject}s"], new) < len(new):
        # What there was to lock was not there yet, so nothing is known of what is there now.
        raise Collision(f"another transaction has made the same {subject}s; this one must look again")
