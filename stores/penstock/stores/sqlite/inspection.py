"""What can be seen of a file beside its records: its schema, its health, its size."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import aiosqlite

from penstock.stores.alchemy import engine_of
from penstock.stores.health import Health, NotWell, Totals, examined, schema_detail
from penstock.stores.schemas import FIRST_WITH_STATE, SchemaVersion, version_of
from penstock.stores.sqlite.reading import SqliteReading
from penstock.stores.sqlite.schema import MIGRATIONS, applied_migrations
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.stores.sqlite.translation import is_there, translated
from penstock.stores.sqlite.writer import Writer

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_LEAST_FREE = 100 * 1024 * 1024
"""A checkpoint of 40 MB, and as much again in the log, must fit."""

_LARGEST_LOG = 1024 * 1024 * 1024
"""The log is emptied every 40 MB, unless a reader holds on to an old state of the file."""


class SqliteInspection(SqliteReading):
    """See `SqlInspection`."""

    _writer: Writer

    async def schema(self) -> SchemaVersion:
        """See `SqlInspection.schema`. Creates no file."""
        return version_of(MIGRATIONS, await asyncio.to_thread(_applied, self._settings))

    async def health(self) -> Health:
        """See `SqlInspection.health`."""
        return await examined(
            {
                "answers": self._answers,
                "schema": self._schema_fits,
                "writable": self._is_writable,
                "disk": self._has_room,
                "log": self._log_is_short,
            }
        )

    async def totals(self) -> Totals:
        """See `SqlInspection.totals`. Always exact: a count walks the smallest index, a million rows in about 10 ms."""
        found = (await self._ask(self._questions.named("schema_version")))[0][0] or 0
        records = (await self._ask(self._questions.named("count_records")))[0]
        state = (0,) * 4
        if found >= FIRST_WITH_STATE:
            state = (await self._ask(self._questions.named("count_state")))[0]
        names = ("messages", "sessions", "logs", "tasks", "agent_states", "contexts", "key_values")
        size = _size(self._settings.path) + _size(self._log_path)
        return Totals(**dict(zip(names, (*records, *state), strict=True)), bytes=size)

    def engine(self) -> AsyncEngine:
        """See `SqlInspection.engine`. Its connections wait for the file as the store's do, and never checkpoint."""
        return engine_of("sqlite+aiosqlite", self._connect_for_others, database=str(self._settings.path))

    async def _connect_for_others(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._settings.uri("rw"), uri=True)
        for pragma in (
            f"busy_timeout = {self._settings.busy_timeout_ms:d}",
            f"synchronous = {self._settings.synchronous}",
            "wal_autocheckpoint = 0",
        ):
            await connection.execute_fetchall(f"PRAGMA {pragma}")
        return connection

    async def _answers(self) -> str:
        await self.check()
        return str(self._settings.path)

    async def _schema_fits(self) -> str:
        return schema_detail(await self.schema())

    async def _is_writable(self) -> str:
        await self._writer.probe()
        return "a row was written and taken back"

    async def _has_room(self) -> str:
        free = shutil.disk_usage(self._settings.path.parent).free
        if free < _LEAST_FREE:
            raise NotWell(f"{_megabytes(free)} left on the disk; {_megabytes(_LEAST_FREE)} are needed")
        return f"{_megabytes(free)} left"

    async def _log_is_short(self) -> str:
        size = _size(self._log_path)
        if size > _LARGEST_LOG:
            raise NotWell(f"{_megabytes(size)}; a reader has kept its transaction open since long ago: end it")
        return _megabytes(size)

    @property
    def _log_path(self) -> Path:
        return self._settings.path.with_name(self._settings.path.name + "-wal")


def _applied(settings: SqliteSettings) -> Mapping[int, str]:
    if not is_there(settings.path):
        return {}
    with translated(), closing(sqlite3.connect(settings.uri("ro"), uri=True)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {settings.busy_timeout_ms:d}")
        return applied_migrations(connection)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:,.1f} MB"
