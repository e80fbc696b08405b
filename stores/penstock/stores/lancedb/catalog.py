"""The tables of one folder: opened once, mended when a power loss has torn them, forgotten after an error."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import lancedb

from penstock.stores.errors import StoreError, StoreUnavailable
from penstock.stores.lancedb.columns import DELETED, is_marked, table_dimension
from penstock.stores.lancedb.keys import MAX_KEYS, Keys
from penstock.stores.lancedb.locks import lock_tables
from penstock.stores.lancedb.repair import is_whole, newest_manifest, step_back, table_folder
from penstock.stores.lancedb.translate import translated
from penstock.stores.lancedb.versions import Version, is_newest, is_there, version_at
from penstock.wire.logs import logger

INDEX_CACHE_BYTES = 512 * 1024 * 1024
"""Parts of indexes that were searched; the driver's own bound is 6 GB. What does not fit is read from its file."""

METADATA_CACHE_BYTES = 64 * 1024 * 1024
"""What the driver knows of versions, of which each commit makes one; its own bound is 1 GB. With it a process grew by
126 MB from its 600th to its 2,400th commit of one record, and with this by 36, and no more."""

_LOGGER = "penstock.stores.lancedb"


class Collection:
    """An open table."""

    __slots__ = ("_at", "_keys", "_keys_at", "_path", "dimension", "marked", "merges", "name", "table")

    def __init__(self, name: str, table: Any, schema: Any, path: Path) -> None:
        self.name = name
        self.table = table
        """The driver's handle."""
        self.dimension = table_dimension(name, schema)
        self.marked = is_marked(schema)
        """It tells tombstones from vectors."""
        self.merges = 0
        """How many batches were merged since the table was opened, or another process wrote to it."""
        self._path = path
        self._at: Version | None = None
        self._keys: Keys | None = None
        self._keys_at: Version | None = None

    @property
    def version(self) -> int | None:
        """The version that the handle is at; None where only the driver can tell."""
        return self._at and self._at.number

    @property
    def is_current(self) -> bool:
        """Whether the handle is at the newest version."""
        return self._at is not None and is_newest(self._path, self._at)

    @property
    def is_replaced(self) -> bool:
        """Whether the handle's version is gone: removed by a compaction, or with its table."""
        return self._at is not None and not is_there(self._path, self._at)

    @property
    def keys(self) -> Keys | None:
        """What the table holds at the handle's version, where that is known."""
        return self._keys if self._at is not None and self._keys_at == self._at else None

    def settle(self, version: int, keys: Keys | None = None) -> None:
        """Note that the handle is at *version*, which holds *keys*."""
        self._at = self._keys_at = version_at(self._path, version)
        self._keys = keys

    async def refresh(self) -> None:
        """Bring the handle to the newest version."""
        if not self.is_current:
            await self.table.checkout_latest()
            self.marked = is_marked(await self.table.schema())
            self.merges = 0
            self.settle(await self.table.version())

    @contextlib.asynccontextmanager
    async def tidied(self) -> AsyncIterator[None]:
        """What the holder of the lock commits within brings no key, so those that are known stay known."""
        keys = self.keys
        yield
        self.settle(await self.table.version(), keys)


class Catalog:
    """Opens and creates tables. Its methods raise the store's errors only."""

    def __init__(self, folder: Path, lock_timeout_s: float) -> None:
        self.folder = folder
        self._lock_timeout_s = lock_timeout_s
        self._connection: Any = None
        self._open: dict[str, Collection] = {}
        self._closed = False
        self._was_there = False

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
            if known is not None and known.is_replaced:
                self._forget_all()
                known = None
            if known is not None:
                await known.refresh()
                return known
            if not self.folder.exists():  # the driver would create it, and a reader must not
                if self._was_there:
                    raise StoreUnavailable(f"folder {self.folder} was there and is not; was it moved, or unmounted?")
                return None
            connection = await self._connect()
            if not await self._mend(name, locked=locked):
                return None
            table = await connection.open_table(name)
            return await self._keep(name, table, await table.schema())

    async def create(self, name: str, batch: Any, keys: Keys) -> Collection:
        """A new table that holds *batch*, in one commit. Only the holder of the table's lock may call it."""
        with self.translated(name):
            connection = await self._connect()
            return await self._keep(name, await connection.create_table(name, batch), batch.schema, keys)

    async def mark(self, known: Collection) -> None:
        """Have *known* tell tombstones from vectors. Only the holder of the table's lock may call it."""
        with self.translated(known.name):
            async with known.tidied():
                await known.table.add_columns({DELETED: "false"})
            known.marked = True

    def has_room_for(self, keys: int) -> bool:
        """Whether so many more may be kept in memory."""
        return keys + sum(len(each.keys or ()) for each in self._open.values()) <= MAX_KEYS

    async def _keep(self, name: str, table: Any, schema: Any, keys: Keys | None = None) -> Collection:
        self._open[name] = collection = Collection(name, table, schema, table_folder(self.folder, name))
        collection.settle(await table.version(), keys)
        return collection

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
            # The driver's own look for newer versions lists all there are, at every step; `find` looks before each.
            session = lancedb.Session(
                index_cache_size_bytes=INDEX_CACHE_BYTES, metadata_cache_size_bytes=METADATA_CACHE_BYTES
            )
            self._connection = await lancedb.connect_async(self.folder, session=session)
            self._was_there = True
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
