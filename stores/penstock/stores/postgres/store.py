"""The store of one PostgreSQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg

from penstock.stores.answers import SqlAnswers
from penstock.stores.contract import Capabilities, Fence, SqlReading, Trial
from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.stores.key_value_contract import PagedKeyValues
from penstock.stores.postgres import batch, partitions, rehearsal, state
from penstock.stores.postgres.binding import numbered
from penstock.stores.postgres.copying import NotCopied, Optimism
from penstock.stores.postgres.deletions import Deletions
from penstock.stores.postgres.filtering import compiled
from penstock.stores.postgres.inspection import PostgresInspection
from penstock.stores.postgres.pool import Pool
from penstock.stores.postgres.schema import MIGRATIONS, refuse_newer_schema
from penstock.stores.postgres.schema import migrate as bring_up_to_date
from penstock.stores.postgres.searching import matched
from penstock.stores.postgres.settings import PostgresSettings, parse
from penstock.stores.postgres.snapshot import Snapshot
from penstock.stores.postgres.translation import translated
from penstock.stores.postgres.upkeep import PostgresUpkeep
from penstock.stores.questions import Question, Questions
from penstock.stores.schemas import refuse_unfit
from penstock.stores.sqlfiles import statements
from penstock.stores.states import Was
from penstock.wire.records import KeyValue, Record


def open_sql(url: str) -> PostgresStore:
    """The store of the database that *url* names. Nothing is opened yet.

    Raises:
        BadStoreURL: An unknown option, or its value makes no sense.
    """
    return PostgresStore(parse(url))


class PostgresStore(PostgresInspection, PostgresUpkeep, SqlAnswers, PagedKeyValues):
    """Messages, chunks, logs and state in one database. See `SqlStore`.

    The tables lie in the first schema of the role's `search_path`.
    """

    _questions = Questions(statements("penstock.stores.postgres"), compiled, matched)

    capabilities = Capabilities(shared=True, fenced=True)

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._pool = Pool(settings)
        self._deletions = Deletions()
        self._optimism = Optimism()
        self._schema_checked = False
        self._is_set_up = False

    async def setup(self, *, migrate: bool = True) -> None:
        """See `Store.setup`. The database itself must be there."""
        if not migrate:
            refuse_unfit((await self.schema()).found, MIGRATIONS)
            return
        with translated(self._settings.where):
            await bring_up_to_date(self._pool, self._settings)
            await partitions.open_at_level(self._pool, self._settings, tell=not self._is_set_up)
        self._is_set_up = True

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`."""
        rows = batch.sort(records, fence)
        with translated(self._settings.where):
            await self._refuse_what_lacks(rows.records)
            if batch.is_large(rows) and self._optimism.is_due():
                with suppress(NotCopied):
                    return await self._copied(rows)
            return await self._pool.transact(lambda connection: batch.apply(connection, rows, self._deletions))

    async def _copied(self, rows: batch.Batch) -> int:
        try:
            written = await self._pool.transact(
                lambda connection: batch.apply(connection, rows, self._deletions, copies=True)
            )
        except NotCopied:
            self._optimism.missed()
            raise
        self._optimism.held()
        return written

    async def put(self, records: Sequence[KeyValue], now_us: int, *, if_absent: bool = False) -> Sequence[Was]:
        """See `KeyValueStore.put`. One transaction."""
        rows = batch.sort(records, None).records
        with translated(self._settings.where):
            await self._refuse_what_lacks(rows)
            return await self._pool.transact(
                lambda connection: state.put(connection, records, now_us, if_absent=if_absent)
            )

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`."""
        with translated(self._settings.where):
            with suppress(StoreRejected):  # told of each by itself
                await self._refuse_what_lacks(batch.sort(records, None).records)
            try:
                await self._pool.transact(lambda connection: rehearsal.perform(connection, records, self._deletions))
            except rehearsal.Rehearsed as done:
                return done.trials
        raise AssertionError("a rehearsal always ends by its own exception")

    async def keep_partitions(self, now_us: int) -> partitions.Partitions:
        """Make the partitions of *now_us* and of the two periods after it, and look for rows outside of all.

        Does nothing at level 1. May be repeated, and by several processes at once. Such rows are also told in the log.

        Raises:
            StoreUnavailable: A table is held by others; call again later.
            ValueError: *now_us* is no time of the years 1970 to 9997.
        """
        with translated(self._settings.where):
            return await partitions.keep(self._pool, self._settings, now_us)

    async def drop_before(self, table: partitions.Table, before_us: int) -> partitions.Dropped:
        """Remove from *table* what was created before *before_us*, and nothing that is younger.

        At level 2 whole partitions go once their period is over by then; rows of the default partition, and at level 1
        all, are deleted in slices of 5,000, each a transaction. Sessions go on counting the messages that are gone.
        What is removed and comes again, from a queue or a dead letter, is stored again. May be repeated.

        Raises:
            StoreUnavailable: A table is held by others; what is gone is gone, call again later for the rest.
            ValueError: *before_us* lies ahead of the server's clock.
        """
        with translated(self._settings.where):
            return await partitions.drop(self._pool, self._settings, table, before_us)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqlReading]:
        """See `SqlStore.snapshot`. It holds one of the pool's connections."""
        where = self._settings.where
        async with AsyncExitStack() as transaction:
            with translated(where):
                connection = await transaction.enter_async_context(self._pool.connection())
                await transaction.enter_async_context(
                    connection.transaction(isolation="repeatable_read", readonly=True)
                )
                await self._check_schema(connection)  # the first question of a transaction decides what it sees
            try:
                yield Snapshot(self._questions, connection, where)
            finally:
                with translated(where):
                    await transaction.aclose()

    async def close(self) -> None:
        """See `Store.close`."""
        with translated(self._settings.where):
            await self._pool.close()

    async def _ask(self, question: Question) -> Sequence[Any]:
        sql, values = numbered(question)

        async def read(connection: Any) -> Sequence[Any]:
            if not self._schema_checked:
                await self._check_schema(connection)
            rows: Sequence[Any] = await connection.fetch(sql, *values)
            return rows

        with translated(self._settings.where):
            return await self._pool.ask(read)

    async def _check_schema(self, connection: Any) -> None:
        try:
            number = await connection.fetchval(self._questions.named("schema_version").sql)
        except asyncpg.UndefinedTableError as exc:
            message = (
                f"{self._settings.where} has no Penstock tables; is it the right database, has a worker run on it?"
            )
            raise StoreUnavailable(message) from exc
        refuse_newer_schema(number or 0)
        self._schema_checked = True
