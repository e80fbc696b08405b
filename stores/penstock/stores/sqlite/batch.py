"""One batch of records in an open transaction: the rows, and the counters that follow from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from penstock.stores.contract import Fence
from penstock.stores.errors import StaleOwner
from penstock.stores.schemas import FIRST_WITH_SEARCH, FIRST_WITH_STATE, refuse_what_lacks
from penstock.stores.search import Span, spans
from penstock.stores.sorting import Sorted, chunk_row, sort
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite import deletions, searching, state
from penstock.stores.sqlite.bulk import Rows, insert, laid
from penstock.stores.sqlite.drafts import MessageRows, numbered, rows_of
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.sqlite.translation import translated
from penstock.wire.records import Message, Record

_SQL = statements("penstock.stores.sqlite")


class Batch(NamedTuple):
    """What one call of `Store.write` brings, ready for the thread that writes."""

    records: Sorted
    fence: Fence | None
    size: int
    """How many records there are."""
    messages: MessageRows
    logs: Rows

    @classmethod
    def of(cls, records: Sequence[Record], fence: Fence | None = None) -> Self:
        """The batch of *records*.

        Raises:
            StoreRejected: One that no SQL store keeps.
        """
        with translated():
            found = sort(records)
            messages = rows_of(found.messages, are_plain=found.are_plain)
            return cls(found, fence, len(records), messages, laid(found.logs))


class NotAllNew(Exception):
    """A message was there already. The sessions have been counted wrong: roll back, then look before you write."""


def apply(connection: sqlite3.Connection, numbers: SessionNumbers, batch: Batch, *, hopeful: bool, schema: int) -> int:
    """Write *batch*. Returns how many records were new or newer.

    If *hopeful*, write as if every message were new, which only a redelivery disproves. That is 1.1 to 1.3
    times as fast as looking first. *schema* is the number of the file's last migration.

    Raises:
        NotAllNew: Roll back, and be less hopeful.
        StaleOwner: A higher epoch has written. Nothing is written.
        SchemaTooOld: The schema has no tables for some of it. Nothing is written.
    """
    records, rows = batch.records, batch.messages
    refuse_what_lacks(schema, records)
    if batch.fence is not None:
        _check(connection, batch.fence)
    # Before the messages: what of a deleted session lies in the same batch is then told by its time alone.
    deleted = deletions.apply(connection, numbers, records.deletions)
    if schema >= FIRST_WITH_STATE and (spared := deletions.spared(connection, records)) is not records:
        records, rows = spared, rows_of(spared.messages)
    stored, written = _messages(connection, numbers, records, rows, hopeful=hopeful)
    if schema >= FIRST_WITH_SEARCH:
        searching.note(connection, written)
    return (
        deleted
        + stored
        + insert(connection, _SQL["insert_chunk"], laid([chunk_row(chunk) for chunk in records.chunks]))
        + insert(connection, _SQL["insert_log"], batch.logs)
        + (state.write(connection, records.states) if records.states else 0)
    )


def _check(connection: sqlite3.Connection, fence: Fence) -> None:
    row = connection.execute(_SQL["fence"], (fence.partition,)).fetchone()
    if row is None or row[0] < fence.epoch:
        connection.execute(_SQL["raise_fence"], fence)
    elif row[0] > fence.epoch:
        raise StaleOwner(fence.partition, fence.epoch, row[0])


def _messages(
    connection: sqlite3.Connection, numbers: SessionNumbers, records: Sorted, rows: MessageRows, *, hopeful: bool
) -> tuple[int, list[Span]]:
    """Write the messages of *records*. Returns how many took effect, and when they were created, and those that they
    replace."""
    if not hopeful or (not records.are_plain and any(message.version for message in records.messages)):
        return _merge_messages(connection, numbers, records.messages)
    stored = _insert_messages(connection, numbers, rows)
    if stored != len(records.messages):
        raise NotAllNew
    return stored, rows.spans


def _insert_messages(connection: sqlite3.Connection, numbers: SessionNumbers, rows: MessageRows) -> int:
    insert(connection, _SQL["grow_session"], laid(list(rows.sessions.values())))
    known = numbers.of(connection, rows.sessions)
    return sum(insert(connection, _SQL[draft.statement], numbered(draft, known)) for draft in rows.drafts)


def _merge_messages(
    connection: sqlite3.Connection, numbers: SessionNumbers, messages: Sequence[Message]
) -> tuple[int, list[Span]]:
    """Write those that are new, replace those that are newer, leave the rest. What is deleted stays deleted."""
    times = [message.created_at_us for message in messages]
    stored = _stored(connection, {message.id for message in messages})
    fresh: dict[bytes, Message] = {}
    newer: dict[bytes, Message] = {}
    hidden: list[tuple[bytes]] = []
    taken = 0
    for message in messages:
        version, deleted_at, created_at = stored.get(message.id, (None, None, message.created_at_us))
        if version is None:
            fresh[message.id] = message
        elif message.version > version:
            if deleted_at is None and message.deleted_at_us is not None:
                hidden.append((message.id,))
            times.append(created_at)
            newer[message.id] = message if deleted_at is None else message._replace(deleted_at_us=deleted_at)
        else:
            continue
        stored[message.id] = message.version, message.deleted_at_us if deleted_at is None else deleted_at, created_at
        taken += 1
    _insert_messages(connection, numbers, rows_of(list(fresh.values())))
    connection.executemany(_SQL["replace_message"], newer.values())
    connection.executemany(_SQL["shrink_session"], hidden)
    return taken, spans(times)


def _stored(connection: sqlite3.Connection, ids: Iterable[bytes]) -> dict[bytes, tuple[int | None, int | None, int]]:
    """Version of each message that is there, when it was deleted, and when it was created."""
    rows = connection.execute(_SQL["versions"], {"ids": b"".join(ids)})
    return {message_id: (version, deleted_at, created_at) for message_id, version, deleted_at, created_at in rows}
