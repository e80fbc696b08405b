"""One batch of records in an open transaction: the rows, and the counters that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from penstock.stores.contract import Fence
from penstock.stores.errors import StaleOwner, StoreRejected
from penstock.stores.postgres.copying import COPY_FROM, copy_logs
from penstock.stores.sessions import growth
from penstock.stores.sqlfiles import statements
from penstock.wire.records import LogEvent, Message, Record, StreamChunk

_SQL = statements("penstock.stores.postgres")

_ROWS = 1_000
"""Rows of one statement. The driver encodes them on the loop's thread: 5,000 at once stop it for 20 to 45 ms."""

_SCALARS = (str, bytes, int, type(None))

_by_key = itemgetter(0)
_by_stream_and_number = itemgetter(0, 1)


class Batch(NamedTuple):
    """What one call of `Store.write` brings, by table, each sorted by key.

    Every transaction locks in one order: fence, messages, sessions, chunks, logs, and rows by key within a table.
    """

    fence: Fence | None
    messages: dict[bytes, list[Message]]
    """Of each id those that a store would take one after another: each of a higher version than the one before."""
    chunks: list[tuple[Any, ...]]
    logs: list[LogEvent]


def sort(records: Iterable[Record], fence: Fence | None) -> Batch:
    """*records* as a batch.

    Raises:
        StoreRejected: One that no SQL store keeps.
    """
    messages: dict[bytes, list[Message]] = {}
    chunks: list[tuple[Any, ...]] = []
    logs: list[LogEvent] = []
    for record in records:
        if isinstance(record, Message):
            taken = messages.setdefault(record.id, [])
            if not taken or record.version > taken[-1].version:
                taken.append(record)
        elif isinstance(record, LogEvent):
            logs.append(record)
        elif isinstance(record, StreamChunk):
            chunks.append((record.stream_id, record.seq, record.chunks, record.text, record.created_at_us))
        else:
            raise StoreRejected("this store keeps no vectors; an embedding belongs to PENSTOCK_VECTOR_URL")
    return Batch(fence, messages, sorted(chunks, key=_by_stream_and_number), sorted(logs, key=_by_key))


async def apply(connection: Any, batch: Batch, *, copies: bool = True) -> int:
    """Write *batch*. Returns how many records were new or newer.

    Without *copies* nothing goes by COPY, for which the driver prepares a statement by a name.

    Raises:
        StaleOwner: A higher epoch has written. Nothing is written.
    """
    if batch.fence is not None:
        await _hold(connection, batch.fence)
    return (
        await _merge_messages(connection, batch.messages)
        + await _insert(connection, "insert_chunks", batch.chunks)
        + await _insert_logs(connection, batch.logs, copies=copies)
    )


async def _hold(connection: Any, fence: Fence) -> None:
    if await connection.fetchval(_SQL["hold_fence"], *fence) is None:
        raise StaleOwner(fence.partition, fence.epoch, await connection.fetchval(_SQL["fence"], fence.partition))


async def _merge_messages(connection: Any, messages: dict[bytes, list[Message]]) -> int:
    """Write those that are new, replace those that are newer, leave the rest.

    Sessions get a statement of their own, after all messages. One with them, which aggregates in SQL, is 5 % faster at
    1,000 rows and slower at 5,000, and would lock the sessions of a first thousand before the messages of a second.
    """
    new = await _insert_messages(connection, [_in_place(messages[each]) for each in sorted(messages)])
    grown = growth(taken[0] for each, taken in messages.items() if each in new)
    if grown:
        await connection.execute(_SQL["grow_sessions"], *_columns(sorted(grown.values(), key=_by_key)))
    # Only now: whoever was inserting the same id has committed, and what it stored is seen.
    known = sorted(each for each, taken in messages.items() if taken[-1].version and each not in new)
    replaced = await _replace_messages(connection, known, messages) if known else 0
    return sum(len(messages[each]) for each in new) + replaced


async def _insert_messages(connection: Any, messages: Sequence[Message]) -> set[bytes]:
    """Insert those whose ids are not there. Returns the ids that were new."""
    new: set[bytes] = set()
    for at in range(0, len(messages), _ROWS):
        ids = await connection.fetchval(_SQL["insert_messages"], *_columns(messages[at : at + _ROWS])) or b""
        new.update(ids[place : place + 16] for place in range(0, len(ids), 16))
    return new


async def _replace_messages(connection: Any, ids: Sequence[bytes], messages: dict[bytes, list[Message]]) -> int:
    taken = 0
    newer: list[Message] = []
    for message_id, version in await connection.fetch(_SQL["lock_versions"], ids):
        above = [each for each in messages[message_id] if each.version > version]
        taken += len(above)
        newer += above[-1:]
    for at in range(0, len(newer), _ROWS):
        await connection.execute(_SQL["replace_messages"], *_columns(newer[at : at + _ROWS]))
    return taken


async def _insert(connection: Any, statement: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run *statement* for *rows*. Returns how many were not there."""
    inserted = 0
    for at in range(0, len(rows), _ROWS):
        told: str = await connection.execute(_SQL[statement], *_columns(rows[at : at + _ROWS]))
        inserted += int(told.rpartition(" ")[2])  # "INSERT 0 5"
    return inserted


async def _insert_logs(connection: Any, logs: Sequence[LogEvent], *, copies: bool) -> int:
    if copies and len(logs) >= COPY_FROM and await copy_logs(connection, logs):
        return len(logs)
    return await _insert(connection, "insert_logs", logs)


def _in_place(taken: Sequence[Message]) -> Message:
    """The last of *taken* where the first one was: a message keeps its place."""
    if len(taken) == 1:
        return taken[0]
    return taken[-1]._replace(created_at_us=taken[0].created_at_us, session_id=taken[0].session_id)


def _columns(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any] | None]:
    """An array for each field. One of nothing but NULL is itself NULL, which costs nothing: most fields are absent.

    Raises:
        StoreRejected: A list in place of a value, which would become values of other rows.
    """
    columns: list[Sequence[Any] | None] = []
    for column in zip(*rows, strict=True):
        if not isinstance(column[0], _SCALARS):
            raise StoreRejected("a field is of a type that no column holds")
        columns.append(None if column.count(None) == len(column) else column)
    return columns
