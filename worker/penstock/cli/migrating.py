"""`penstock migrate`: the SQL store's schema, brought up to date by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.display import console, print_json
from penstock.cli.exits import Code
from penstock.cli.options import SQL_URL, Json, SqlUrl

if TYPE_CHECKING:
    from penstock.stores.schemas import SchemaVersion


def migrate(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what waits; exit code 1 where something does.")
    ] = False,
    json: Json = False,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """Bring the SQL store's schema up to date.

    One process does it, others wait; all of it takes effect, or nothing. Repeated, it does nothing. Workers do the same
    at their start unless PENSTOCK_MIGRATE is false.
    """
    before, after = asyncio.run(_migrated(sql_url, dry_run=dry_run))
    if json:
        print_json({"before": before.found, "now": after.found, "newest": after.newest, "pending": after.pending})
    else:
        _show(before, after)
    if after.pending:
        raise SystemExit(Code.NO)


async def _migrated(sql_url: str, *, dry_run: bool) -> tuple[SchemaVersion, SchemaVersion]:
    """How far the schema was, and how far it is."""
    from penstock.stores.registry import sql_store  # noqa: PLC0415 - see `app`

    store = sql_store(sql_url)
    try:
        before = await store.schema()
        if dry_run:
            return before, before
        await store.setup()  # also where no migration waits: it has the level that the URL asks for to look after
        return before, await store.schema()
    finally:
        await store.close()


def _show(before: SchemaVersion, after: SchemaVersion) -> None:
    out = console()
    for title in before.pending:
        out.print(f"{'pending' if title in after.pending else 'applied'}  {title}")
    if after.pending:
        out.print(f"The schema has version {after.found} of {after.newest}.", style="yellow")
    else:
        out.print(f"The schema has version {after.found}, the newest.")
