"""What goes by itself, slice by slice on the writer's thread. See `penstock.stores.upkeep`."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from penstock.stores.questions import Question
from penstock.stores.schemas import FIRST_WITH_SEARCH
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite import searching
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.sqlite.schema import schema_version
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.stores.sqlite.writer import Writer
from penstock.stores.upkeep import Bounds, Excess, Kind

_SQL = statements("penstock.stores.sqlite")

_TOMBSTONES = (
    "remove_due_tombstones",
    "remove_deleted_tasks",
    "remove_deleted_agent_states",
    "remove_deleted_contexts",
    "remove_deleted_key_values",
)


class SqliteUpkeep(ABC):
    """See `SqlUpkeep`. A slice waits its turn among the batches, and they wait for no more than a slice."""

    _settings: SqliteSettings
    _writer: Writer

    @abstractmethod
    async def _ask(self, question: Question) -> Sequence[Any]:
        """The rows. Raises store errors."""

    async def count_due(self, kind: Kind, before_us: int) -> int:
        """See `SqlUpkeep.count_due`."""
        count: int = (await self._ask(Question(_SQL[f"count_due_{kind}"], {"before_us": before_us})))[0][0]
        return count

    async def remove_due(self, kind: Kind, before_us: int, now_us: int, limit: int) -> int:
        """See `SqlUpkeep.remove_due`."""
        due = partial(_remove_due, kind=kind, before_us=before_us, now_us=now_us, limit=limit)
        return await self._writer.transact(due)

    async def count_excess(self, kind: Excess, bounds: Bounds, now_us: int, floor_us: int, limit: int) -> int:
        """See `SqlUpkeep.count_excess`. Does it, and rolls it back: nothing less tells how many pages it frees."""
        if not await self._is_too_large():
            return 0
        all_of_it = partial(
            _rehearsed, kind=kind, bounds=bounds, keep=self._keep_bytes, now_us=now_us, floor_us=floor_us, limit=limit
        )
        return await self._writer.rehearse(all_of_it)

    async def remove_excess(self, kind: Excess, floor_us: int, limit: int) -> int:
        """See `SqlUpkeep.remove_excess`."""
        if not await self._is_too_large():
            return 0
        excess = partial(_remove_excess, kind=kind, keep=self._keep_bytes, floor_us=floor_us, limit=limit)
        return await self._writer.transact(excess)

    async def refresh_search(self, limit: int) -> int:
        """See `SqlUpkeep.refresh_search`."""
        # Looked at first, without the file's lock: most of the time there is nothing to do.
        if ((await self._ask(Question(_SQL["schema_version"], {})))[0][0] or 0) < FIRST_WITH_SEARCH:
            return 0
        if not (await self._ask(Question(_SQL["any_pending_search"], {})))[0][0]:
            return 0
        return await self._writer.transact(partial(searching.refresh, limit=limit))

    async def reindex(self) -> None:
        """See `SqlUpkeep.reindex`."""
        await self._writer.transact(searching.reindex)

    async def tidy(self, now_us: int) -> Mapping[str, int]:  # noqa: ARG002 - a file does not look at the clock
        """See `SqlUpkeep.tidy`."""
        return await self._writer.tidy()

    @property
    def _keep_bytes(self) -> int:
        return self._settings.keep_size_mb * 1024 * 1024

    async def _is_too_large(self) -> bool:
        if not self._keep_bytes:
            return False
        used: int = (await self._ask(Question(_SQL["used_bytes"], {})))[0][0]
        return used > self._keep_bytes


def _remove_due(
    connection: sqlite3.Connection, numbers: SessionNumbers, *, kind: Kind, before_us: int, now_us: int, limit: int
) -> int:
    if kind == "messages":
        return _remove_messages(connection, numbers, before_us, limit)
    gone = 0
    for statement in _TOMBSTONES if kind == "tombstones" else (f"remove_due_{kind}",):
        values = {"before_us": before_us, "now_us": now_us, "limit": limit - gone}
        gone += connection.execute(_SQL[statement], values).rowcount
    return gone


def _remove_messages(connection: sqlite3.Connection, numbers: SessionNumbers, before_us: int, limit: int) -> int:
    rows = connection.execute(_SQL["due_messages"], {"before_us": before_us, "limit": limit}).fetchall()
    counted: Counter[int] = Counter()
    for _, _, session_no, is_live in rows:
        counted[session_no] += is_live
    connection.executemany(_SQL["remove_message"], [(row[0],) for row in rows])
    if connection.execute(_SQL["any_chunk"]).fetchone()[0]:
        connection.executemany(_SQL["delete_chunks_of_stream"], [(row[1],) for row in rows])
    for session_no, gone in counted.items():
        session = {"no": session_no, "gone": gone}
        if connection.execute(_SQL["age_session"], session).rowcount == 0:
            _remove_session(connection, numbers, session)
    return len(rows)


def _remove_session(connection: sqlite3.Connection, numbers: SessionNumbers, session: Mapping[str, int]) -> None:
    for (session_id,) in connection.execute(_SQL["empty_session"], session).fetchall():
        connection.execute(_SQL["delete_session"], session)
        numbers.forget(session_id)


def _remove_excess(
    connection: sqlite3.Connection, numbers: SessionNumbers, *, kind: Excess, keep: int, floor_us: int, limit: int
) -> int:
    if connection.execute(_SQL["used_bytes"]).fetchone()[0] <= keep:
        return 0
    gone = _remove_due(connection, numbers, kind=kind, before_us=floor_us, now_us=floor_us, limit=limit)
    if kind == "messages" and schema_version(connection) >= FIRST_WITH_SEARCH:
        # At once: words that stay until the index is filled next would have twice as many messages go.
        searching.remove_left_over(connection, limit)
    return gone


def _rehearsed(
    connection: sqlite3.Connection,
    numbers: SessionNumbers,
    *,
    kind: Excess,
    bounds: Bounds,
    keep: int,
    now_us: int,
    floor_us: int,
    limit: int,
) -> int:
    for each, before_us in bounds.items():
        while _remove_due(connection, numbers, kind=each, before_us=before_us, now_us=now_us, limit=limit):
            pass
    excess = partial(_remove_excess, connection, numbers, keep=keep, floor_us=floor_us, limit=limit)
    gone: dict[Excess, int] = {"logs": 0, "messages": 0}
    for which in gone:
        while slice_ := excess(kind=which):
            gone[which] += slice_
        if which == kind:
            break
    return gone[kind]
