"""The store of one SQLite file: a writing and a reading side under one name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Event

from penstock.stores.contract import Capabilities, Fence, SqlReading, Trial
from penstock.stores.errors import StoreUnavailable
from penstock.stores.key_value_contract import PagedKeyValues
from penstock.stores.schemas import refuse_unfit
from penstock.stores.soundness import refuse_unsound
from penstock.stores.sqlite import backup, state
from penstock.stores.sqlite.inspection import SqliteInspection
from penstock.stores.sqlite.moved import OpenFiles
from penstock.stores.sqlite.reading import SqliteReading
from penstock.stores.sqlite.schema import MIGRATIONS
from penstock.stores.sqlite.settings import SqliteSettings, parse
from penstock.stores.sqlite.upkeep import SqliteUpkeep
from penstock.stores.sqlite.writer import Writer
from penstock.stores.states import Was
from penstock.wire.records import KeyValue, Record


def open_sql(url: str) -> SqliteStore:
    """The store of the file that *url* names. Nothing is opened yet.

    Raises:
        BadStoreURL: No file, an unknown option, or its value makes no sense.
    """
    return SqliteStore(parse(url))


class SqliteStore(SqliteInspection, SqliteUpkeep, PagedKeyValues):
    """Messages, chunks and logs in one file. See `SqlStore`.

    One process should open a file once for writing: its calls then share commits.
    """

    capabilities = Capabilities(shared=True, fenced=True)

    def __init__(self, settings: SqliteSettings) -> None:
        super().__init__(settings)
        self._writer = Writer(settings)

    async def setup(self, *, migrate: bool = True) -> None:
        """See `Store.setup`. Creates the file, and its folder, where it may migrate."""
        if migrate:
            await self._writer.setup()
        else:
            refuse_unfit((await self.schema()).found, MIGRATIONS)

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`. Calls that wait for the file at the same time share a commit, not a fate."""
        try:
            return await self._writer.write(records, fence)
        except StoreUnavailable:
            await self._forget_if_stale()
            raise

    async def _let_log_follow(self, left: OpenFiles) -> None:
        """Whoever reads and writes a file in one process has one index of its log: it must be that of its own log."""
        if not self._writer.is_used:
            return
        await self._writer.follow()
        if left.have_left_log():
            raise StoreUnavailable(
                f"{self._settings.path} was moved or replaced; another writer is about to move its log. If there is "
                f"none, move {self._settings.path.name}-wal to where the file went"
            )

    async def put(self, records: Sequence[KeyValue], now_us: int, *, if_absent: bool = False) -> Sequence[Was]:
        """See `KeyValueStore.put`. One transaction."""
        refuse_unsound(records)
        work = partial(state.put, records=records, now_us=now_us, if_absent=if_absent)
        try:
            return await self._writer.transact(lambda connection, _: work(connection))
        except StoreUnavailable:
            await self._forget_if_stale()
            raise

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`."""
        return await self._writer.try_out(records)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqlReading]:
        """See `SqlStore.snapshot`."""
        self._refuse_if_closed()
        reading = SqliteReading(self._settings)
        try:
            await reading.hold()
            yield reading
        finally:
            await reading.close()

    @property
    def file(self) -> Path:
        """Where the database lies."""
        return self._settings.path

    async def back_up(self, to: Path, tell: Callable[[int, int], object]) -> None:
        """Write the file as it is now to *to*, a new file, while others write. *tell* is told pages done, and in all.

        Called from another thread. A cancelled call leaves *to* half done, and writes no more to it.

        Raises:
            StoreUnavailable: There is no database, the disk is full, or the copy is not sound.
        """
        self._refuse_if_closed()
        stop = Event()
        copying = asyncio.create_task(asyncio.to_thread(backup.copy, self._settings, to, tell, stop))
        try:
            await asyncio.shield(copying)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([copying])  # until then it would write to *to*
            copying.exception()  # looked at, or the loop would tell of it
            raise

    async def close(self) -> None:
        """See `Store.close`."""
        try:
            await super().close()
        finally:
            # Last: the connection that closes last checkpoints and removes the log, and only the writer may.
            await self._writer.close()
