"""`penstock verify`: whether rows and vectors of the same records are both there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from penstock.cli.connection import looking_at, sql_at, vectors_at
from penstock.cli.display import moment, print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.ledger import Status
from penstock.cli.options import (
    NAMESPACE,
    REDIS_URL,
    SQL_URL,
    VECTOR_URL,
    Json,
    KeyValueUrl,
    Namespace,
    RedisUrl,
    SqlUrl,
    StoreUrls,
    VectorUrl,
)
from penstock.wire.ids import from_us

if TYPE_CHECKING:
    from penstock.moving.reconciling import Finding
    from penstock.stores.key_value_contract import KeyValueReading

_SHOWN = 20

_SAID = {
    "vector": "the row is there, its vector is not",
    "row": "the vector is there, its row is not",
    "deletion": "the row was deleted, its vector was not",
}


class _Verified(NamedTuple):
    """What was found."""

    found: list[Finding]
    before_us: int
    """Records of then and later were not looked at."""
    vectors: int
    """How many the collection has."""

    @property
    def extent(self) -> str:
        """Of when, and of how much."""
        vectors = f"{self.vectors:,} vector{'' if self.vectors == 1 else 's'}"
        return f"from before {moment(from_us(self.before_us))} UTC; it has {vectors}"


def verify(  # noqa: PLR0917 - options
    collection: Annotated[str, typer.Argument(help="The collection of what was sent with embed.")] = "messages",
    repair: Annotated[bool, typer.Option("--repair", help="Send again what one store lacks; needs a worker.")] = False,
    younger_s: Annotated[
        float, typer.Option("--ignore-younger", min=0, help="Seconds; what is younger may be on its way.")
    ] = 60,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
    sql_url: SqlUrl = SQL_URL,
    vector_url: VectorUrl = VECTOR_URL,
    key_value_url: KeyValueUrl = "",
) -> None:
    """Find messages and documents that were sent with embed and that one of the two stores lacks.

    What still waits in the queue is not looked at. A row that lies among the dead letters is best replayed from there.
    With --repair texts are embedded again, rows are made again of what their vectors know, and vectors of deleted rows
    are deleted. Exit code 1 where something was found.
    """
    stores = StoreUrls(sql_url, vector_url, key_value_url)
    verified = asyncio.run(_verify(collection, younger_s, (redis_url, namespace), stores, repair=repair))
    if json:
        shown = [{"lacks": each.lacks, "of": each.of, "id": each.id} for each in verified.found]
        print_json({"collection": collection, "found": shown, "repaired": repair})
    elif verified.found:
        _show(verified.found)
    if not verified.found:
        say(f"Both stores have everything of {collection} {verified.extent}.")
        return
    counts = Counter(each.lacks for each in verified.found)
    told = ", ".join(f"{count:,} without {_a(lack)}" for lack, count in sorted(counts.items()))
    if not repair:
        raise Stop(f"{told}; --repair sends it again", Code.NO)
    say(f"{told}: sent again. Run penstock verify once the worker has stored it.")


def _show(found: list[Finding]) -> None:
    print_table(["id", "of", "what"], [[each.id, each.of, _SAID[each.lacks]] for each in found[:_SHOWN]])
    if len(found) > _SHOWN:
        say(f"{len(found) - _SHOWN:,} more; --json shows all.")


def _a(lack: str) -> str:
    return f"{'its' if lack == 'deletion' else 'a'} {lack}"


async def _verify(
    collection: str, younger_s: float, queue_at: tuple[str, str], stores: StoreUrls, *, repair: bool
) -> _Verified:
    from penstock.moving import reconciling  # noqa: PLC0415 - see `app`
    from penstock.producer import Producer  # noqa: PLC0415
    from penstock.stores.registry import key_value_store  # noqa: PLC0415
    from penstock.wire.ids import wall_clock_us  # noqa: PLC0415

    async with looking_at(*queue_at) as queue:
        settled_ms = (await Status.of(queue)).stored_up_to.timestamp() * 1000
    before_us = int(min(wall_clock_us() - younger_s * 1e6, settled_ms * 1000))
    async with AsyncExitStack() as stack:
        sql = await stack.enter_async_context(sql_at(stores.sql))
        vectors = await stack.enter_async_context(vectors_at(stores.vectors))
        values: KeyValueReading = sql
        if stores.key_values:
            values = kept = key_value_store(stores.key_values)
            stack.push_async_callback(kept.close)
        found = [each async for each in reconciling.findings(sql, values, vectors, collection, before_us)]
        if repair and found:
            redis_url, namespace = queue_at
            environment = {"PENSTOCK_REDIS_URL": redis_url, "PENSTOCK_NAMESPACE": namespace}
            async with Producer.from_env(environment) as producer:
                await reconciling.repair(_each(found), producer)
                await producer.flush(timeout=60)
        return _Verified(found, before_us, await vectors.count_vectors(collection))


async def _each(found: list[Any]) -> AsyncIterator[Any]:
    for each in found:
        yield each
