"""The tables of one folder: opened once, mended when a power loss has torn them, forgotten after an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import lancedb

from penstock.stores.errors import StoreError, StoreUnavailable
from penstock.stores.lancedb.columns import DELETED, is_marked, table_dimension
from penstock.stores.lancedb.locks import lock_tables
from penstock.stores.lancedb.repair import is_whole, newest_manifest, step_back, table_folder
from penstock.stores.lancedb.translate import translated
from penstock.wire.logs import logger

_LOGGER = "penstock.stores.lancedb"


class Collection(NamedTuple):
    """An open table."""

    name: str
    table: Any
    """The driver's handle, at the latest version."""
    dimension: int
    marked: bool
    """It tells tombstones from vectors."""
    folder: int
    """The inode of its folder: another one has its name once it was dropped and made anew."""


class Catalog:
    """Opens and creates tables. Its methods raise the store's errors only."""

    def __init__(self, folder: Path, lock_timeout_s: float) -> None:
        self.folder = folder
        self._lock_timeout_s = lock_timeout_s
        self._connection: Any = None
        self._open: dict[str, Collection] = {}
        self._closed = False

    def close(self) -> None:
        """Let go of every handle. Opening afterwards raises `StoreUnavailable`."""
        self._closed = True
        self._forget_all()

    def names(self) -> list[str]:
        """Every collection with at least one version, sorted."""
        return sorted(table.stem for table in self.folder.glob("*.lance") if newest_manifest(table))

    async def find(self, name: str, *, locked: bool = False) -> Collection | None:
        """The collection at its latest version; None when there is none.

        *locked* says that the caller holds the table's lock.
        """
        with self.translated(name):
            known = self._open.get(name)
            if known is not None and known.folder != self._inode(name):
                self._forget_all()
                known = None
            if known is not None:
                await known.table.checkout_latest()
                return known if known.marked else self._keep(name, known.table, await known.table.schema())
            if not self.folder.exists():  # the driver would create it, and a reader must not
                return None
            connection = await self._connect()
            if not await self._mend(name, locked=locked):
                return None
            table = await connection.open_table(name)
            return self._keep(name, table, await table.schema())

    async def create(self, name: str, batch: Any) -> Collection:
        """A new table that holds *batch*, in one commit. Only the holder of the table's lock may call it."""
        with self.translated(name):
            connection = await self._connect()
            return self._keep(name, await connection.create_table(name, batch), batch.schema)

    async def mark(self, known: Collection) -> Collection:
        """*known* once it tells tombstones from vectors. Only the holder of the table's lock may call it."""
        with self.translated(known.name):
            await known.table.add_columns({DELETED: "false"})
            return self._keep(known.name, known.table, await known.table.schema())

    def _keep(self, name: str, table: Any, schema: Any) -> Collection:
        dimension = table_dimension(name, schema)
        self._open[name] = collection = Collection(name, table, dimension, is_marked(schema), self._inode(name))
        return collection

    def _inode(self, name: str) -> int:
        """0 when there is no such folder, which none has."""
        try:
            return table_folder(self.folder, name).stat().st_ino
        except FileNotFoundError:
            return 0

    def _forget_all(self) -> None:
        """Open everything afresh: what the driver remembers of a table goes by its path and its versions' numbers, and
        these begin again in a table that was dropped and made anew."""
        self._open.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _connect(self) -> Any:
        if self._closed:
            raise StoreUnavailable(f"the store of {self.folder} is closed")
        if self._connection is None:
            # Zero: every read looks for a newer version first, so commits of other processes are seen at once.
            self._connection = await lancedb.connect_async(self.folder, read_consistency_interval=timedelta(0))
        return self._connection

    async def _mend(self, name: str, *, locked: bool) -> bool:
        """Whether the table is there, after it was stepped back over torn commits."""
        folder = table_folder(self.folder, name)
        manifest = newest_manifest(folder)
        if manifest is None or is_whole(manifest):
            return manifest is not None
        if not locked:
            # A second look: a writer may have committed or compacted between the listing and the reading.
            with await lock_tables(self.folder, [name], self._lock_timeout_s):
                return await self._mend(name, locked=True)
        for aside in step_back(folder):
            logger(_LOGGER).warning("torn_commit_put_aside", collection=name, file=str(aside))
        return newest_manifest(folder) is not None

    @contextlib.contextmanager
    def translated(self, name: str) -> Iterator[None]:
        """The driver's errors as ours. After one the table is opened afresh: a handle may be of a version that
        another process has removed."""
        try:
            with translated(f"collection {name}"):
                yield
        except StoreError:
            self._open.pop(name, None)
            raise
