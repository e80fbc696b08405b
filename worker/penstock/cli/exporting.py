"""`penstock export` and `penstock backup`: a store as a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from penstock.cli.bars import Bars
from penstock.cli.connection import sql_at, vectors_at
from penstock.cli.display import say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import SQL_URL, VECTOR_URL, SqlUrl, VectorUrl
from penstock.cli.output_files import STANDARD_OUTPUT, LinesFile, writing

if TYPE_CHECKING:
    from penstock.moving.backups import Tell


def export(
    *,
    file: LinesFile = STANDARD_OUTPUT,
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="NAME", help="Only this one; repeatable.")
    ] = None,
    vectors: Annotated[bool, typer.Option("--vectors", help="The vectors instead of the SQL store.")] = False,
    collection: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these vectors; repeatable.")
    ] = None,
    sql_url: SqlUrl = SQL_URL,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Write the SQL store as JSON Lines, to standard output or a file; with --vectors the vector store.

    Everything as it is at one instant: messages, chunks, logs, tasks, agent_states, contexts, key_values, and
    deletions, also what is deleted or has expired. JSON comes byte for byte as it was sent. Equal stores give equal
    files. penstock import reads it back, into any SQL store.

    Vectors come a collection after the other, with their tombstones, each as it is while it is read; penstock import
    reads them back into any vector store.
    """
    if vectors or collection:
        asyncio.run(_export_vectors(vector_url, file, collection))
        return
    from penstock.moving.walks import tables_named  # noqa: PLC0415 - see `app`

    try:
        tables = tables_named(table or [])
    except ValueError as exc:
        raise Stop(str(exc), Code.USAGE) from None
    asyncio.run(_export(sql_url, file, tables))


async def _export(sql_url: str, file: Path, tables: Sequence[str]) -> None:
    from penstock.moving import backups  # noqa: PLC0415 - see `app`

    async with sql_at(sql_url) as store:
        records = await _written(
            file,
            lambda out, tell: backups.export(store, out, tables, tell),
            lambda tell: backups.export_to(store, file, tables, tell),
        )
    say(f"{records:,} records of {len(tables)} tables.")


async def _export_vectors(url: str, file: Path, collections: Sequence[str] | None) -> None:
    from penstock.moving.vectors import export_vectors, export_vectors_to  # noqa: PLC0415 - see `app`

    async with vectors_at(url) as store:
        there = await store.collections()
        if missing := sorted(set(collections or ()).difference(there)):
            raise Stop(f"no such collection: {', '.join(missing)}", Code.NOT_FOUND)
        wanted = [name for name in there if not collections or name in collections]
        records = await _written(
            file,
            lambda out, tell: export_vectors(store, out, wanted, tell),
            lambda tell: export_vectors_to(store, file, wanted, tell),
        )
    say(f"{records:,} records of {len(wanted)} collections.")


async def _written(
    file: Path, into: Callable[[IO[bytes], Tell], Awaitable[None]], replacing: Callable[[Tell], Awaitable[None]]
) -> int:
    """How many records *into* has written to standard output, or *replacing* to *file*, with a bar for each name."""
    counts: dict[str, int] = {}
    with _writing(file), Bars() as bars:

        def tell(name: str, done: int, total: int | None) -> None:
            counts[name] = done
            bars.tell(name, done, total)

        if file == STANDARD_OUTPUT:
            await into(sys.stdout.buffer, tell)
            sys.stdout.buffer.flush()
        else:
            await replacing(tell)
    return sum(counts.values())


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    from penstock.moving import WouldReplaceItself  # noqa: PLC0415 - see `app`

    try:
        with writing(file):
            yield
    except WouldReplaceItself as exc:
        raise Stop(str(exc), Code.USAGE) from None


def backup(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="Replaced when the backup is whole.")],
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """Back the SQL store up into one file, while workers write to it; not the vectors.

    The store as it is at one instant. Of SQLite it is a database, checked, which can be put in place of the old one; of
    PostgreSQL it is an export, which penstock import reads back. FILE is replaced only by a whole backup on disk.
    """
    asyncio.run(_back_up(sql_url, file))
    say(f"{file}: {file.stat().st_size:,} bytes.")


async def _back_up(sql_url: str, file: Path) -> None:
    from penstock.moving import back_up  # noqa: PLC0415 - see `app`

    _refuse_open_database(file)
    async with sql_at(sql_url) as store:
        with _writing(file), Bars() as bars:
            await back_up(store, file, bars.tell)


def _refuse_open_database(file: Path) -> None:
    """One that somebody has open: its log would be taken for that of the backup."""
    for suffix in ("-wal", "-journal"):
        log = file.with_name(file.name + suffix)
        if log.exists() and log.stat().st_size:
            raise Stop(f"{log} lies beside the backup: is {file.name} a database that is in use?", Code.USAGE)
