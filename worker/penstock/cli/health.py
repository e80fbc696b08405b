"""`penstock health`: whether queue and SQL store are well, for people and for what watches containers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from penstock.cli.connection import looking_at, sql_at
from penstock.cli.display import print_json, print_table
from penstock.cli.exits import Code
from penstock.cli.options import NAMESPACE, REDIS_URL, SQL_URL, Json, Namespace, RedisUrl, SqlUrl

if TYPE_CHECKING:
    from penstock.stores.health import Health, Totals

_STATUS_TIMEOUT_S = 3.0
"""The store's part of `penstock status` takes no longer: containers are watched by that command, too."""


def health(
    *,
    queue: Annotated[bool, typer.Option("--queue/--no-queue", help="Look at the queue server as well.")] = True,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """Check the queue server and the SQL store, each with its latency.

    Exit code 1 where a check fails: a queue server that evicts or keeps nothing on disk fails, too. That the store can
    be written to is tried, and what is written taken back.
    """
    seen = asyncio.run(_examined(redis_url if queue else None, namespace, sql_url))
    if json:
        print_json({"healthy": seen.healthy, "checks": [asdict(check) for check in seen.checks]})
    else:
        rows = [[each.name, _verdict(each.healthy), f"{each.latency_ms:,.1f}", each.detail] for each in seen.checks]
        print_table(["check", "well", "ms", "detail"], rows, ["ms"], whole=True)
    if not seen.healthy:
        raise SystemExit(Code.NO)


async def _examined(redis_url: str | None, namespace: str, sql_url: str) -> Health:
    from penstock.stores.health import Health, NotWell, examined  # noqa: PLC0415 - see `app`
    from penstock.wire.server import facts_of, memory_of  # noqa: PLC0415
    from penstock.wire.server_check import verdict_on  # noqa: PLC0415

    async def queue_answers() -> str:
        async with looking_at(redis_url or "", namespace) as queue:
            facts, memory = await facts_of(queue.scripts), await memory_of(queue.scripts)
        verdict = verdict_on(facts)
        if verdict.faults:
            raise NotWell("; ".join(verdict.faults))
        used = f"{memory.used / memory.limit:.0%} of maxmemory used" if memory.limit else "no maxmemory"
        return "; ".join([f"namespace {namespace}", used, *verdict.cautions])

    queue = await examined({"queue": queue_answers} if redis_url else {})
    async with sql_at(sql_url) as store:
        found = await store.health()
    return Health(checks=[*queue.checks, *found.checks])


async def glance(sql_url: str) -> tuple[Health, Totals | None]:
    """Health and totals of the store, within some seconds. Raises only for a URL that makes no sense."""
    from penstock.stores.errors import StoreError  # noqa: PLC0415 - see `app`
    from penstock.stores.health import Check, Health  # noqa: PLC0415

    health: Health | None = None
    async with sql_at(sql_url) as store:
        try:
            async with asyncio.timeout(_STATUS_TIMEOUT_S):
                health = await store.health()
                return health, await store.totals()
        except StoreError:
            pass
        except TimeoutError:
            if health is None:
                detail = f"no answer within {_STATUS_TIMEOUT_S:g} s"
                slow = Check(name="answers", healthy=False, latency_ms=_STATUS_TIMEOUT_S * 1000, detail=detail)
                health = Health(checks=[slow])
    return health or Health(checks=[]), None


def as_json(health: Health, totals: Totals | None) -> dict[str, Any]:
    """What `penstock status --json` says of the store."""
    told = {} if totals is None else {name: value for name, value in asdict(totals).items() if name != "uptime_s"}
    return {
        "healthy": health.healthy,
        "checks": [asdict(check) for check in health.checks],
        "totals": told or None,
    }


def sentence(health: Health, totals: Totals | None) -> str:
    """What `penstock status` says of the store."""
    ill = [f"{check.name}: {check.detail}" for check in health.checks if not check.healthy]
    if ill:
        return f"Store: not well ({'; '.join(ill)})."
    slowest = max(health.checks, key=lambda check: check.latency_ms)
    well = f"Store: well, slowest check {slowest.latency_ms:,.1f} ms ({slowest.name})"
    return f"{well}." if totals is None else f"{well}; {_counts(totals)}."


def _counts(totals: Totals) -> str:
    counts = (
        ("messages", totals.messages),
        ("sessions", totals.sessions),
        ("logs", totals.logs),
        ("tasks", totals.tasks),
    )
    parts = [f"{name} {count:,}" for name, count in counts]
    if totals.bytes is not None:
        parts.append(f"{totals.bytes / 1024 / 1024:,.1f} MB")
    return ("" if totals.exact else "about ") + ", ".join(parts)


def _verdict(healthy: bool) -> Text:
    return Text("yes", "green") if healthy else Text("NO", "bold red")
