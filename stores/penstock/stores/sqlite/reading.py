"""The reading side of a file: a connection of its own that can neither write nor checkpoint."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiosqlite
import orjson

from penstock.stores.answers import SqlAnswers
from penstock.stores.errors import StoreError, StoreUnavailable
from penstock.stores.questions import Question, Questions
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite.filtering import compiled
from penstock.stores.sqlite.moved import OpenFiles, is_writable
from penstock.stores.sqlite.schema import refuse_newer_schema
from penstock.stores.sqlite.searching import matched
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.stores.sqlite.translation import is_there, translated


class SqliteReading(SqlAnswers):
    """Answers from the file as it was last committed. Opened at the first question."""

    _questions = Questions(statements("penstock.stores.sqlite"), compiled, matched)

    def __init__(self, settings: SqliteSettings) -> None:
        self._settings = settings
        self._connection: aiosqlite.Connection | None = None
        self._opening: asyncio.Task[aiosqlite.Connection] | None = None
        self._files: OpenFiles | None = None
        self._left: OpenFiles | None = None
        """What was open before the name became another file's."""
        self._closed = False

    async def close(self) -> None:
        """Finish the question that runs, then close. Later questions are refused."""
        self._closed = True
        opening, self._opening, self._connection = self._opening, None, None
        if opening is not None:
            with suppress(StoreError):  # it was never opened
                await (await asyncio.shield(opening)).close()

    async def hold(self) -> None:
        """Answer from the file as it is now until it is closed. The log keeps what is committed meanwhile."""
        connection = await self._open()
        self._files = None  # whatever happens to its name
        with translated():
            await connection.execute_fetchall("BEGIN")
        await self.check()  # the first question of a transaction decides what it sees

    async def _ask(self, question: Question) -> Sequence[Any]:
        await self._forget_if_stale()
        connection = self._connection or await self._open()
        with translated():
            # One hop to the connection's thread, and no transaction that outlives it and pins the log.
            return list(await connection.execute_fetchall(question.sql, _bound(question.values)))

    async def _open(self) -> aiosqlite.Connection:
        """The connection. Opening it goes on when its caller is cancelled, or aiosqlite's thread would lose it."""
        self._refuse_if_closed()
        opening = self._opening = self._opening or asyncio.create_task(self._connect())
        try:
            self._connection = await asyncio.shield(opening)
        except StoreError:
            self._opening = None
            raise
        return self._connection

    async def _forget_if_stale(self) -> None:
        """Close a file that is another one now, or may do more by now, once the questions that run are answered."""
        if self._files is None or not (self._files.have_moved() or self._files.have_opened_up()):
            return
        self._left = self._files if self._files.have_moved() else self._left
        opening, self._opening, self._connection, self._files = self._opening, None, None, None
        if opening is not None:
            await asyncio.shield((await asyncio.shield(opening)).close())

    async def _let_log_follow(self, left: OpenFiles) -> None:
        """Raise `StoreUnavailable` while the log of *left* lies beside the next file, which must not be opened then."""

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the store of {self._settings.path} is closed")

    async def _connect(self) -> aiosqlite.Connection:
        path = self._settings.path
        if not is_there(path):
            raise StoreUnavailable(f"no such database: {path}; has a worker stored anything yet?")
        if self._left is not None:
            await self._let_log_follow(self._left)
            self._left = None
        was_writable = is_writable(path)  # asked before: rights that come meanwhile come too late for the log's index
        with translated():
            # `ro` creates nothing and, unlike `query_only` alone, does not checkpoint when it is closed last.
            connection = await aiosqlite.connect(self._settings.uri("ro"), uri=True, isolation_level=None)
            try:
                await connection.execute_fetchall(f"PRAGMA busy_timeout = {self._settings.busy_timeout_ms:d}")
                await connection.execute_fetchall("PRAGMA query_only = 1")
                await self._check_schema(connection)
                self._files = OpenFiles(path, was_writable=was_writable)
            except BaseException:
                await asyncio.shield(connection.close())
                raise
        return connection

    async def _check_schema(self, connection: aiosqlite.Connection) -> None:
        try:
            rows = list(await connection.execute_fetchall(self._questions.named("schema_version").sql))
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            message = f"{self._settings.path} has no Penstock tables; is it the right file, has a worker run on it?"
            raise StoreUnavailable(message) from exc
        refuse_newer_schema(rows[0][0] or 0)


def _bound(values: Mapping[str, Any]) -> dict[str, Any]:
    """*values*, its arrays as what SQLite can take: ids as one BLOB, texts as JSON."""
    return {name: _array(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _array(values: Sequence[Any]) -> bytes | str:
    if values and isinstance(values[0], bytes):
        return b"".join(values)
    return orjson.dumps(values).decode()
