"""`penstock migrate`: the schema of the SQL store, and of vectors in a database, brought up to date by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from penstock.cli.connection import sql_at, vectors_at
from penstock.cli.display import console, print_json
from penstock.cli.exits import Code
from penstock.cli.options import SQL_URL, VECTOR_URL, Json, SqlUrl, VectorUrl

if TYPE_CHECKING:
    from penstock.stores.schemas import SchemaVersion

_DATABASES = ("pgvector", "postgresql", "postgres")
"""Vector stores that have a schema. What others need, each worker makes."""

_VECTORS = "tables of vectors"


def migrate(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what waits; exit code 1 where something does.")
    ] = False,
    json: Json = False,
    sql_url: SqlUrl = SQL_URL,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Bring the schema up to date: the SQL store's, and that of vectors in PostgreSQL.

    One process does it, others wait; all of it takes effect, or nothing. Repeated, it does nothing. Workers do the same
    at their start unless PENSTOCK_MIGRATE is false.
    """
    before, after = asyncio.run(_migrated(sql_url, vector_url, dry_run=dry_run))
    if json:
        print_json({"before": before.found, "now": after.found, "newest": after.newest, "pending": after.pending})
    else:
        _show(before, after)
    if after.pending:
        raise SystemExit(Code.NO)


async def _migrated(sql_url: str, vector_url: str, *, dry_run: bool) -> tuple[SchemaVersion, SchemaVersion]:
    """How far the schema was, and how far it is."""
    async with sql_at(sql_url) as store:
        before = await store.schema()
        if await _vectors_wait(vector_url, dry_run=dry_run):
            before = before._replace(pending=[*before.pending, _VECTORS])
        if dry_run:
            return before, before
        await store.setup()  # also where no migration waits: it has the level that the URL asks for to look after
        return before, await store.schema()


async def _vectors_wait(vector_url: str, *, dry_run: bool) -> bool:
    """Whether the schema of vectors lacks anything; it is made then, unless *dry_run*."""
    from penstock.stores.errors import SchemaTooOld  # noqa: PLC0415 - see `app`

    if urlsplit(vector_url).scheme.partition("+")[0] not in _DATABASES:
        return False
    async with vectors_at(vector_url) as store:
        try:
            await store.setup(migrate=False)
            waits = False
        except SchemaTooOld:
            waits = True
        if not dry_run:
            await store.setup()
        return waits


def _show(before: SchemaVersion, after: SchemaVersion) -> None:
    out = console()
    for title in before.pending:
        out.print(f"{'pending' if title in after.pending else 'applied'}  {title}")
    if after.pending:
        out.print(f"The schema has version {after.found} of {after.newest}.", style="yellow")
    else:
        out.print(f"The schema has version {after.found}, the newest.")
