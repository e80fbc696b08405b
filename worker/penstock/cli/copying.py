"""`penstock copy`: one SQL store into another, verified."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.bars import Bars
from penstock.cli.connection import sql_at
from penstock.cli.display import print_json, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import Json

if TYPE_CHECKING:
    from penstock.moving import Comparison, Loader
    from penstock.stores.contract import SqlReading, SqlStore


def copy(
    *,
    source: Annotated[str, typer.Option("--from", metavar="URL", help="The SQL store to read.")],
    target: Annotated[str, typer.Option("--to", metavar="URL", help="The SQL store to write; it is set up.")],
    json: Json = False,
) -> None:
    """Copy one SQL store into another, and verify every table by count and checksum; not the vectors.

    The source as it is when the copy begins; it may be in use. A copy that was stopped goes on where it was, by the
    same command; a repeated one brings what has come since. What the target has of its own stays. Exit code 1 where a
    table of the target is not as the source's.
    """
    if source == target:
        raise Stop("--from and --to name the same store", Code.USAGE)
    copied = asyncio.run(_copy(source, target, json=json))
    if json:
        print_json([{**asdict(each.compared), "written": each.written} for each in copied])
    wrong = [each.compared.table for each in copied if not each.compared.is_equal]
    if wrong:
        raise Stop(f"not as in the source: {', '.join(wrong)}", Code.NO)
    say(f"{sum(each.compared.records for each in copied):,} records, verified in every table.")


@dataclass(frozen=True, slots=True)
class _Copied:
    compared: Comparison
    written: int
    """How many the target took."""


async def _copy(source_url: str, target_url: str, *, json: bool) -> list[_Copied]:
    from penstock.moving import Loader  # noqa: PLC0415 - see `app`
    from penstock.moving.walks import refuse_old  # noqa: PLC0415
    from penstock.stores.walking import TABLES  # noqa: PLC0415

    copied = []
    async with sql_at(source_url) as source, sql_at(target_url) as target:
        await refuse_old(source)
        async with source.snapshot() as then:
            await target.setup()  # only now: a source that is not there makes no target
            for table in TABLES:
                with Bars() as bars:
                    each = await _copy_table(table, then, target, Loader(target, bars.complain), bars)
                if not json:
                    say(_sentence(each))
                copied.append(each)
    return copied


async def _copy_table(table: str, source: SqlReading, target: SqlStore, loader: Loader, bars: Bars) -> _Copied:
    from penstock.moving import compare, copy_table  # noqa: PLC0415 - see `app`

    total = await _count(source, table)
    await copy_table(source, target, table, loader, lambda done: bars.tell(table, done, total))
    compared = await compare(source, target, table, lambda done: bars.tell(f"{table}, verified", done, total))
    return _Copied(compared, loader.loaded.new)


async def _count(source: SqlReading, table: str) -> int | None:
    """How many there are, of what there may be many."""
    from penstock.stores.queries import LogQuery, MessageQuery  # noqa: PLC0415 - see `app`

    if table == "messages":
        return await source.count_messages(MessageQuery(include_deleted=True))
    return await source.count_logs(LogQuery()) if table == "logs" else None


def _sentence(each: _Copied) -> str:
    compared = each.compared
    told = f"{compared.table}: {compared.records:,} records, {each.written:,} written, "
    if compared.is_equal:
        told += f"checksum {compared.checksum} in both"
    else:
        told += (
            f"checksums {compared.checksum} and {compared.target_checksum}; "
            f"{compared.missing:,} missing, {compared.different:,} different in the target"
        )
    return f"{told}; the target has {compared.more:,} more." if compared.more else f"{told}."
