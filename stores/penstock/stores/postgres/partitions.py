"""Level 2: messages and logs in partitions by time, for a database that outgrows one table.

A partition holds the ids that were made in one period. What is past its time is dropped with its partition, which costs
the same for a thousand rows and for a hundred million. Ids of callers' own keys lie in the default partition.

Somebody has to call, once a day or more often:

- `PostgresStore.keep_partitions(now_us)` makes the partitions of this period and the next two, and tells how many rows
  lie outside of every one.
- `PostgresStore.drop_before(table, before_us)` drops what is older than a bound.

Both do nothing that is done already, may be called by several processes at once, and wait for no table longer than
some seconds at a time.

A time bound of a query prunes no partition: the time of a message is what its caller says, and may be long before its
id was made, or after. Each partition has an index by time, so one without rows of that time costs one look at an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import asyncpg

from penstock.stores.errors import StoreRejected
from penstock.stores.postgres import searching
from penstock.stores.postgres.ddl import LONG_S, alone
from penstock.stores.postgres.periods import Span, current, everything_until, missing, span_of
from penstock.stores.postgres.pool import Pool
from penstock.stores.postgres.settings import PostgresSettings
from penstock.stores.sqlfiles import statements
from penstock.wire.logs import logger

Table: TypeAlias = Literal["messages", "logs"]

TABLES: tuple[Table, ...] = get_args(Table)

_SQL = statements("penstock.stores.postgres")
_LOGGER = "penstock.stores"

_SLICE = 5_000
"""Rows of one DELETE: a lock of some 100 ms."""

_COUNTED = 1_000_000
"""Rows of the default partition that are looked at."""


class Outside(NamedTuple):
    """Rows of a table's default partition, of at most a million that are looked at."""

    by_time: int
    """Their ids were made by a clock, for which there is no partition: that clock is wrong, or nobody made any."""
    others: int
    """Their ids are of callers' own keys. They belong there."""


class Partitions(NamedTuple):
    """What `keep_partitions` found and did."""

    level: int
    made: Sequence[str]
    """The names of new partitions."""
    outside: Mapping[str, Outside]
    """By table; of none at level 1."""


class Dropped(NamedTuple):
    """What `drop_before` did."""

    partitions: Sequence[str]
    """The names of those that are gone."""
    kept: int
    """Rows of them that were younger than the bound, and are in the default partition now."""
    deleted: int
    """Rows deleted one by one."""


async def is_divided(connection: Any) -> bool:
    """Whether the tables are in partitions. All are divided in one transaction."""
    return bool(await connection.fetchval(_SQL["is_partitioned"], TABLES[0]))


async def divide(connection: Any, period: str) -> None:
    """Put both tables into partitions, in the transaction of *connection*, which holds the schema's lock.

    Nothing is copied: a table becomes a partition as it is, up to the end of this period. Only rows whose ids lie
    beyond, such as those of callers' own keys, are moved. Who writes meanwhile waits.

    Raises:
        StoreRejected: Something hangs on a table that would stay with the old one.
    """
    if await is_divided(connection):
        return
    for table in TABLES:
        if behind := await connection.fetch(_SQL["what_would_stay_behind"], table):
            names = ", ".join(row[0] for row in behind)
            raise StoreRejected(f"{table} cannot go to level 2 with what hangs on it: {names}; drop it, make it again")
    await connection.execute(_SQL["lock_tables"])
    now_us = await connection.fetchval(_SQL["server_time"])
    for table in TABLES:
        await _divide(connection, table, now_us, period)


async def _divide(connection: Any, table: Table, now_us: int, period: str) -> None:
    is_empty = not await connection.fetchval(await connection.fetchval(_SQL["has_rows"], table))
    whole = everything_until(current(now_us, period))
    former = whole.name(table)
    await run(connection, "divide", table, former, _default(table))
    if is_empty:
        await run(connection, "drop_table", former)
    for span in missing([] if is_empty else [whole], now_us, period):
        await _make(connection, table, span)
    if not is_empty:
        await run(connection, "attach_divided", table, former, *whole.ids)


async def keep(pool: Pool, settings: PostgresSettings, now_us: int) -> Partitions:
    """See `PostgresStore.keep_partitions`."""
    made: list[str] = []
    outside: dict[str, Outside] = {}
    if not await _is_divided(pool):
        return Partitions(1, made, outside)
    for table in TABLES:
        made += await _make_missing(pool, settings, table, now_us)
        outside[table] = await _look_outside(pool, table)
    return Partitions(2, made, outside)


async def open_at_level(pool: Pool, settings: PostgresSettings, *, tell: bool) -> None:
    """Make partitions that are missing at the server's time, and tell where the database is at a level not asked for.

    A role that may only write rows makes none: the default partition takes what has no other.
    """
    if not await _is_divided(pool):
        return
    if settings.level == 1 and tell:
        logger(_LOGGER).info(
            "database_has_level_2",
            database=settings.where,
            remedy="it stays so, and works; add level=2 to the URL, and keep its partitions",
        )
    async with pool.connection() as connection:
        now_us = await connection.fetchval(_SQL["server_time"])
    try:
        for table in TABLES:
            await _make_missing(pool, settings, table, now_us)
    except asyncpg.InsufficientPrivilegeError as exc:
        logger(_LOGGER).warning(
            "partitions_not_made",
            database=settings.where,
            reason=str(exc),
            remedy="have the owner of the tables keep the partitions",
        )


async def drop(pool: Pool, settings: PostgresSettings, table: Table, before_us: int) -> Dropped:
    """See `PostgresStore.drop_before`."""
    is_divided = await _is_divided(pool)
    async with pool.connection() as connection:
        now_us = await connection.fetchval(_SQL["server_time"])
    if before_us > now_us:
        raise ValueError(f"before_us is {before_us}, after the server's clock ({now_us}); nothing is dropped")
    names: list[str] = []
    kept = 0
    if table == "messages":
        # Now too, for what a run has left that was broken off.
        await pool.transact(searching.look_for_left_over)
    while is_divided:
        gone = await alone(pool, settings.timeout, lambda each: _drop_next(each, table, before_us))
        if gone is None:
            break
        names.append(gone[0])
        kept += gone[1]
    deleted = await _delete(pool, _default(table) if is_divided else table, before_us)
    if table == "messages":
        await pool.transact(searching.look_for_left_over)
    return Dropped(names, kept, deleted)


async def _is_divided(pool: Pool) -> bool:
    async with pool.connection() as connection:
        return await is_divided(connection)


async def _make_missing(pool: Pool, settings: PostgresSettings, table: Table, now_us: int) -> list[str]:
    """Make each missing partition in a transaction of its own. Returns the names of those made here."""
    async with pool.connection() as connection:
        lacking = missing(_spans(await _listed(connection, table)), now_us, settings.period)
    made = []
    for _ in lacking:
        name = await alone(pool, settings.timeout, lambda each: _make_next(each, table, now_us, settings))
        made += [name] if name else []
    return made


async def _make_next(connection: Any, table: Table, now_us: int, settings: PostgresSettings) -> str | None:
    """Make the first partition that is missing now; None where another process has made them."""
    lacking = missing(_spans(await _listed(connection, table)), now_us, settings.period)
    if not lacking:
        return None
    await _make(connection, table, lacking[0])
    return lacking[0].name(table)


async def _make(connection: Any, table: Table, span: Span) -> None:
    await run(connection, "make_partition", table, span.name(table), *span.ids, _default(table))


async def past(connection: Any, table: Table, before_us: int) -> list[str]:
    """The names of partitions that end before *before_us*."""
    return [name for name, span in await _listed(connection, table) if span is not None and span.end_us <= before_us]


async def run(connection: Any, statement: str, *names: object) -> None:
    """Have the server put DDL together, and run it."""
    await connection.execute(await connection.fetchval(_SQL[statement], *names), timeout=LONG_S)


async def _drop_next(connection: Any, table: Table, before_us: int) -> tuple[str, int] | None:
    """Drop one partition that ends before *before_us*. Returns its name, and how many rows stay."""
    for name in await past(connection, table, before_us):
        await run(connection, "detach_partition", table, name)
        keep_younger = await connection.fetchval(_SQL["keep_younger"], table, name)
        kept = await connection.execute(keep_younger, before_us, timeout=LONG_S)
        await run(connection, "drop_table", name)
        return name, _count(kept)
    return None


async def _delete(pool: Pool, table: str, before_us: int) -> int:
    deleted = 0
    while True:
        async with pool.connection() as connection:
            sql = await connection.fetchval(_SQL["delete_slice"], table)
            slice_ = _count(await connection.execute(sql, before_us, _SLICE))
        deleted += slice_
        if slice_ < _SLICE:
            return deleted


async def rows_outside(pool: Pool, looked_at: int) -> Mapping[str, Outside]:
    """By table, what its default partition holds among its lowest *looked_at* ids; nothing at level 1."""
    if not await _is_divided(pool):
        return {}
    return {table: await _outside(pool, table, looked_at) for table in TABLES}


async def _outside(pool: Pool, table: Table, looked_at: int) -> Outside:
    async with pool.connection() as connection:
        sql = await connection.fetchval(_SQL["outside"], _default(table))
        return Outside(*await connection.fetchrow(sql, looked_at, timeout=LONG_S))


async def _look_outside(pool: Pool, table: Table) -> Outside:
    outside = await _outside(pool, table, _COUNTED)
    if outside.by_time:
        logger(_LOGGER).warning(
            "rows_outside_partitions",
            table=table,
            rows=outside.by_time,
            of_own_keys=outside.others,
            remedy="look at the clocks of producers; run upkeep, which makes partitions in time",
        )
    return outside


async def _listed(connection: Any, table: Table) -> list[tuple[str, Span | None]]:
    found = await connection.fetch(_SQL["partitions"], table)
    # No bound: another process has dropped that one while the server was listing it.
    return [(name, span_of(bound)) for name, bound in found if bound is not None]


def _spans(listed: Sequence[tuple[str, Span | None]]) -> list[Span]:
    return [span for _, span in listed if span is not None]


def _default(table: Table) -> str:
    return f"{table}_default"


def _count(told: str) -> int:
    return int(told.rpartition(" ")[2])  # "DELETE 5"
