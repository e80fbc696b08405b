"""The store of one PostgreSQL database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from penstock.stores import surface
from penstock.stores.contract import Capabilities, Fence, Partial
from penstock.stores.errors import StoreUnavailable
from penstock.stores.postgres import batch, questions
from penstock.stores.postgres.pool import Pool
from penstock.stores.postgres.questions import Question
from penstock.stores.postgres.schema import migrate, refuse_newer_schema
from penstock.stores.postgres.settings import PostgresSettings, parse
from penstock.stores.postgres.translation import translated
from penstock.stores.rows import LogQuery, MessageQuery, Session, SessionQuery, StoredLog, StoredMessage
from penstock.wire.records import LogEvent, Message, Record


def open_sql(url: str) -> PostgresStore:
    """The store of the database that *url* names. Nothing is opened yet.

    Raises:
        BadStoreURL: An unknown option, or its value makes no sense.
    """
    return PostgresStore(parse(url))


class PostgresStore:
    """Messages, chunks and logs in one database. See `SqlStore`.

    The tables lie in the first schema of the role's `search_path`.
    """

    capabilities = Capabilities(shared=True, fenced=True)

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._pool = Pool(settings)
        self._schema_checked = False

    async def setup(self) -> None:
        """See `Store.setup`. The database itself must be there."""
        with translated(self._settings.where):
            await migrate(self._pool, self._settings.timeout)

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`."""
        rows = batch.sort(records, fence)
        with translated(self._settings.where):
            return await self._pool.transact(lambda connection: batch.apply(connection, rows))

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
        rows = await self._ask(questions.partials(ids)) if ids else ()
        return {message_id: Partial(content or "", version) for message_id, content, version in rows}

    async def check(self) -> None:
        """See `Store.check`."""
        await self._ask(questions.schema_version())

    async def close(self) -> None:
        """See `Store.close`."""
        with translated(self._settings.where):
            await self._pool.close()

    async def _ask(self, question: Question) -> Sequence[Any]:
        with translated(self._settings.where):
            async with self._pool.connection() as connection:
                if not self._schema_checked:
                    await self._check_schema(connection)
                rows: Sequence[Any] = await connection.fetch(question.sql, *question.values)
                return rows

    async def _number(self, question: Question) -> int:
        number: int = (await self._ask(question))[0][0]
        return number

    async def _check_schema(self, connection: Any) -> None:
        try:
            number = await connection.fetchval(questions.schema_version().sql)
        except asyncpg.UndefinedTableError as exc:
            message = (
                f"{self._settings.where} has no Penstock tables; is it the right database, has a worker run on it?"
            )
            raise StoreUnavailable(message) from exc
        refuse_newer_schema(number or 0)
        self._schema_checked = True
