"""The store itself: opened once, written to and read by any number of tasks of one loop, closed once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from penstock.direct.block import SharedBlock
from penstock.direct.errors import StoreNotOpen
from penstock.direct.ids import id_of
from penstock.direct.transaction import Transaction
from penstock.producer.record_calls import RecordCalls
from penstock.query import Reader
from penstock.stores.contract import SqlStore
from penstock.stores.health import Check, Health, Totals, since
from penstock.stores.registry import sql_store
from penstock.wire.building_state import StateBuilder
from penstock.wire.frames import encode
from penstock.wire.ids import RisingClock, StampClock, new_id
from penstock.wire.records import Record

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


def open_store(url: str) -> DirectStore:
    """The SQL store at *url*, to be opened by `async with`.

        async with open_store("sqlite:///./penstock.db") as store:
            await store.message(session_id="s-1", role="user", content="Hello")
            page = await store.reader.messages("s-1")

    Raises:
        BadStoreURL: No backend has the URL's scheme, its driver is missing, or its options make no sense.
    """
    return DirectStore(sql_store(url))


_INDEXED_AT_ONCE = 500
"""Messages of one transaction of the index: other writes wait for it no longer than some 30 ms."""


class DirectStore(RecordCalls[Coroutine[Any, Any, str]], SharedBlock):
    """Every call is awaited, and what it made is durable when it returns: the id by which it is read back.

    The id is that of a message or log event, the caller's own of a task, an agent and a context, the key of a value;
    of a deletion, that of what is deleted.

    Several tasks may enter the same store: the first one opens it, the last one that leaves closes it. Calls raise
    `InvalidRecord` and `RecordTooLarge` for what no store takes, `StoreUnavailable` (may be repeated with the same id)
    and `StoreRejected`.
    """

    def __init__(self, store: SqlStore) -> None:
        identity = new_id()
        self._store = store
        self._clock = RisingClock()
        self._states = StateBuilder(self._clock, StampClock(identity[8:]))
        self._reader = Reader.open(sql=store)
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()
        self._opened_at: float | None = None
        self._closed = False

    async def open(self) -> None:
        """Open the store and bring its schema up to date. Does nothing when it is open.

        Raises:
            StoreUnavailable: It does not answer; may be called again.
            StoreRejected: Its schema is newer than this release.
            StoreNotOpen: It was closed.
        """
        async with self._opening:
            self._refuse_closed()
            if self._opened_at is None:
                await self._store.setup()
                self._opened_at = time.monotonic()

    async def close(self) -> None:
        """Finish the writes that run, then let go of everything. Open transactions are rolled back. May be repeated."""
        async with self._opening:
            self._closed = True
            engine, self._engine = self._engine, None
            try:
                if engine is not None:
                    await engine.dispose()
            finally:
                await self._store.close()

    @property
    def reader(self) -> Reader:
        """Answers from this store. It is closed with it."""
        self._require_open()
        return self._reader

    async def write(self, records: Sequence[Record]) -> int:
        """Store records as they are, all or nothing. Returns how many were new or newer. See `Store.write`."""
        self._require_open()
        return await self._store.write(records)

    def transaction(self) -> Transaction:
        """A block whose calls take effect together at its end, or not at all.

        async with store.transaction() as tx:
            tx.message(session_id="s-1", role="user", content="Hello")
            tx.task(task_id="t-1", status="running")
        """
        return self.begin()

    def begin(self) -> Transaction:
        """A transaction that the caller ends, by `commit` or `rollback`."""
        self._require_open()
        return Transaction(self.write, self._clock, self._states)

    async def refresh_search(self, *, anew: bool = False) -> int:
        """Have `reader.search_messages` find everything stored by now. Returns how many messages were looked at.

        A worker on the same database does so by itself, about once a second; without one nobody else does. *anew* looks
        at every message again: for those that were written past the stores.
        """
        self._require_open()
        if anew:
            await self._store.reindex()
        looked_at = 0
        while done := await self._store.refresh_search(_INDEXED_AT_ONCE):
            looked_at += done
        return looked_at

    async def health(self) -> Health:
        """Look at the store, check by check, each with its latency. Raises nothing."""
        try:
            self._require_open()
        except StoreNotOpen as exc:
            return Health(checks=[Check(name="open", healthy=False, latency_ms=0.0, detail=str(exc))])
        return await self._store.health()

    async def totals(self) -> Totals:
        """How many rows there are, their bytes, and how long the store has been open. Cheap."""
        opened_at = self._require_open()
        return since(await self._store.totals(), time.monotonic() - opened_at)

    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine for the same database, for tables and questions of the caller's own.

        Always the same one; it is disposed of with the store. What is changed through it in Penstock's tables keeps
        none of their promises.

        Raises:
            MissingExtra: SQLAlchemy is not installed.
            BadStoreURL: `memory://` has no database.
        """
        self._require_open()
        if self._engine is None:
            self._engine = self._store.engine()
        return self._engine

    def _send(self, record: Record, lane: str, key: str) -> Coroutine[Any, Any, str]:  # noqa: ARG002 - those of a queue
        encode(record)  # for its limit alone: what is stored must also fit into a frame
        return self._write_one(record)

    async def _write_one(self, record: Record) -> str:
        await self.write([record])
        return id_of(record)

    def _require_open(self) -> float:
        self._refuse_closed()
        if self._opened_at is None:
            raise StoreNotOpen("the store is not open yet; use it inside of `async with open_store(...)`")
        return self._opened_at

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreNotOpen("the store is closed; open_store(...) gives a new one")
