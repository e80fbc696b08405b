"""The reading side of a file: a connection of its own that can neither write nor checkpoint."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiosqlite

from penstock.stores import surface
from penstock.stores.contract import Partial
from penstock.stores.errors import StoreError, StoreUnavailable
from penstock.stores.rows import LogQuery, MessageQuery, Session, SessionQuery, StoredLog, StoredMessage
from penstock.stores.sqlite import questions
from penstock.stores.sqlite.questions import Question
from penstock.stores.sqlite.schema import refuse_newer_schema
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.stores.sqlite.translation import translated
from penstock.wire.records import LogEvent, Message


class SqliteReading:
    """Answers from the file as it was last committed. Opened at the first question."""

    def __init__(self, settings: SqliteSettings) -> None:
        self._settings = settings
        self._connection: aiosqlite.Connection | None = None
        self._opening: asyncio.Task[aiosqlite.Connection] | None = None
        self._closed = False

    async def message(self, message_id: bytes) -> StoredMessage | None:
        """See `SqlReading.message`."""
        rows = await self._ask(questions.message(message_id))
        return surface.stored_message(Message(*rows[0])) if rows else None

    async def messages(self, query: MessageQuery) -> Sequence[StoredMessage]:
        """See `SqlReading.messages`."""
        return [surface.stored_message(Message(*row)) for row in await self._ask(questions.messages(query))]

    async def count_messages(self, query: MessageQuery) -> int:
        """See `SqlReading.count_messages`."""
        return await self._number(questions.message_count(query))

    async def session(self, session_id: str) -> Session | None:
        """See `SqlReading.session`."""
        rows = await self._ask(questions.session(session_id))
        return surface.session(rows[0]) if rows else None

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """See `SqlReading.sessions`."""
        return [surface.session(row) for row in await self._ask(questions.sessions(query))]

    async def logs(self, query: LogQuery) -> Sequence[StoredLog]:
        """See `SqlReading.logs`."""
        return [surface.stored_log(LogEvent(*row)) for row in await self._ask(questions.logs(query))]

    async def count_logs(self, query: LogQuery) -> int:
        """See `SqlReading.count_logs`."""
        return await self._number(questions.log_count(query))

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """See `Store.partials`."""
        rows = await self._ask(questions.partials(list(ids))) if ids else ()
        return {message_id: Partial(content or "", version) for message_id, content, version in rows}

    async def check(self) -> None:
        """See `Store.check`."""
        await self._ask(questions.schema_version())

    async def close(self) -> None:
        """Finish the question that runs, then close. Later questions are refused."""
        self._closed = True
        opening, self._opening, self._connection = self._opening, None, None
        if opening is not None:
            with suppress(StoreError):  # it was never opened
                await (await asyncio.shield(opening)).close()

    async def _ask(self, question: Question) -> Sequence[Any]:
        connection = self._connection or await self._open()
        with translated():
            # One hop to the connection's thread, and no transaction that outlives it and pins the log.
            return list(await connection.execute_fetchall(question.sql, question.values))

    async def _number(self, question: Question) -> int:
        number: int = (await self._ask(question))[0][0]
        return number

    async def _open(self) -> aiosqlite.Connection:
        """The connection. Opening it goes on when its caller is cancelled, or aiosqlite's thread would lose it."""
        if self._closed:
            raise StoreUnavailable(f"the store of {self._settings.path} is closed")
        opening = self._opening = self._opening or asyncio.create_task(self._connect())
        try:
            self._connection = await asyncio.shield(opening)
        except StoreError:
            self._opening = None
            raise
        return self._connection

    async def _connect(self) -> aiosqlite.Connection:
        path = self._settings.path
        if not path.exists():
            raise StoreUnavailable(f"no such database: {path}; has a worker stored anything yet?")
        with translated():
            # `ro` creates nothing and, unlike `query_only` alone, does not checkpoint when it is closed last.
            connection = await aiosqlite.connect(self._settings.uri("ro"), uri=True, isolation_level=None)
            try:
                await connection.execute_fetchall(f"PRAGMA busy_timeout = {self._settings.busy_timeout_ms:d}")
                await connection.execute_fetchall("PRAGMA query_only = 1")
                await self._check_schema(connection)
            except BaseException:
                await asyncio.shield(connection.close())
                raise
        return connection

    async def _check_schema(self, connection: aiosqlite.Connection) -> None:
        try:
            rows = list(await connection.execute_fetchall(*questions.schema_version()))
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            message = f"{self._settings.path} has no Penstock tables; is it the right file, has a worker run on it?"
            raise StoreUnavailable(message) from exc
        refuse_newer_schema(rows[0][0] or 0)
