"""`penstock upkeep`: remove now what has expired or is past its time, or tell what that would be."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.connection import sql_at, vectors_at
from penstock.cli.display import console, print_json, print_table
from penstock.cli.options import SQL_URL, VECTOR_URL, Json, SqlUrl, VectorUrl
from penstock.wire.ids import wall_clock_us
from penstock.wire.settings import from_mapping

if TYPE_CHECKING:
    from penstock.worker.settings import WorkerConfig
    from penstock.worker.upkeep import Done


def upkeep(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would go, exactly, and change nothing.")
    ] = False,
    json: Json = False,
    sql_url: SqlUrl = SQL_URL,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Remove what has expired or is past its time, and put the vectors in order.

    Workers do this by themselves. PENSTOCK_RETAIN_MESSAGES_DAYS and its like say what goes; docs/operating.md lists
    them. May run beside workers, and be broken off: what is left goes the next time.
    """
    from penstock.worker.settings import WorkerConfig  # noqa: PLC0415 - drivers are slow to load

    config = from_mapping(WorkerConfig, {**os.environ, "PENSTOCK_SQL_URL": sql_url, "PENSTOCK_VECTOR_URL": vector_url})
    done = asyncio.run(_done(config, dry_run=dry_run))
    vectors = asyncio.run(_tended(config, dry_run=dry_run))
    if json:
        records = {each.chore.name: each.records for each in done}
        print_json({"dry_run": dry_run, "records": records, "vectors": vectors})
        return
    print_table(["kind", "which", "would go" if dry_run else "removed"], _rows(done), ["would go", "removed"])
    for what, count in vectors.items():
        console().print(f"vectors: {what} {count:,}")
    if not any(each.records for each in done) and not vectors:
        console().print("Nothing was due.")


async def _done(config: WorkerConfig, *, dry_run: bool) -> Sequence[Done]:
    from penstock.worker.upkeep import Run, rehearse, told  # noqa: PLC0415 - as above

    async with sql_at(config.sql_url) as store:
        await store.check()  # there is one: nothing is made here
        if dry_run:
            return told(await rehearse(store, config, wall_clock_us()))
        run = Run(store, config, wall_clock_us())
        await run.perform()
        return told(run.done)


async def _tended(config: WorkerConfig, *, dry_run: bool) -> dict[str, int]:
    """What was done about the vectors, or how many collections it would be done for."""
    from penstock.worker.tending import tend_all  # noqa: PLC0415 - as above
    from penstock.worker.upkeep import due, go_on  # noqa: PLC0415 - as above

    async with vectors_at(config.vector_url) as store:
        if dry_run:
            waiting = [name for name in await store.collections() if await store.is_due(name)]
            return {"collections": len(waiting)} if waiting else {}
        done: Counter[str] = Counter()
        before_us, _ = due(config, wall_clock_us())["tombstones"]
        await tend_all(store, before_us, go_on, done)
        return dict(done)


def _rows(done: Sequence[Done]) -> list[list[object]]:
    return [[each.chore.kind.replace("_", "-"), each.chore.what, each.records] for each in done]
