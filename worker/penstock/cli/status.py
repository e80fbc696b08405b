"""`penstock status`: how far the stores are behind, and how the SQL store and this machine's spool are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.cli import health
from penstock.cli.caches import CacheGlance
from penstock.cli.connection import ask
from penstock.cli.display import age, console, print_json, print_table
from penstock.cli.lane_states import LaneState, states_of
from penstock.cli.ledger import Status
from penstock.cli.options import (
    NAMESPACE,
    REDIS_URL,
    VECTOR_URL,
    Json,
    KnownSpoolDir,
    KnownSqlUrl,
    Namespace,
    RedisUrl,
    Vectors,
    VectorUrl,
)
from penstock.cli.spools import SpoolGlance
from penstock.cli.vector_states import VectorGlance
from penstock.wire.errors import PenstockError
from penstock.wire.queue import Queue


def status(
    *,
    json: Json = False,
    vectors: Vectors = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
    sql_url: KnownSqlUrl = None,
    vector_url: VectorUrl = VECTOR_URL,
    spool_dir: KnownSpoolDir = None,
) -> None:
    """Show how far the stores are behind, and, where they are set, how the SQL store and this machine's spool are."""
    spool = SpoolGlance(spool_dir, namespace) if spool_dir else None
    try:
        seen, states, cache = ask(redis_url, namespace, _seen)
    except PenstockError:
        if spool:
            _show_alone(spool, json=json)
        raise
    store = asyncio.run(health.glance(sql_url)) if sql_url else None
    shapes = asyncio.run(VectorGlance.at(vector_url)) if vectors else None
    if json:
        beside = {
            "store": health.as_json(*store) if store else None,
            "spool": spool.as_json() if spool else None,
            "cache": cache.as_json() if cache else None,
            "vectors": shapes.as_json() if shapes else None,
        }
        print_json({**_as_json(seen, states), **beside})
        return
    _show_queue(seen, states)
    out = console()
    if cache:
        out.print(cache.sentence())
    if store:
        out.print(health.sentence(*store), style="" if store[0].healthy else "yellow")
    if spool:
        out.print(spool.sentence(), style="" if spool.fine else "yellow", soft_wrap=True)
    if shapes:
        shapes.show()


def _show_queue(seen: Status, states: Mapping[str, LaneState]) -> None:
    """The lanes and who works on them, for people."""
    rare = [name for name in ("skipped", "purged") if seen.total(name)]  # without them the others do not add up
    columns = ["lane", "pending", "oldest", "accepted", "stored", "dead", *rare]
    print_table(columns, [_row(seen, lane, rare) for lane in seen.lanes], columns[1:])
    out = console()
    if seen.workers or not seen.total("pending"):
        out.print(f"Workers alive: {len(seen.workers)}.")
    else:
        out.print("Workers alive: none. Start one: penstock worker", style="yellow")
    out.print(seen.sentence())
    for sentence in filter(None, (state.sentence() for state in states.values())):
        out.print(sentence, style="yellow", soft_wrap=True)


def _show_alone(spool: SpoolGlance, *, json: bool) -> None:
    """What is known while the queue says nothing."""
    if json:
        print_json({"spool": spool.as_json()})
    else:
        console().print(spool.sentence(), style="" if spool.fine else "yellow", soft_wrap=True)


async def _seen(queue: Queue) -> tuple[Status, Mapping[str, LaneState], CacheGlance | None]:
    return await Status.of(queue), await states_of(queue), await CacheGlance.of(queue)


def _row(seen: Status, lane: str, rare: Sequence[str]) -> list[object]:
    counts, waited = seen.lanes[lane], seen.oldest_age_s(lane)
    common = [counts.pending, None if waited is None else age(waited), counts.accepted, counts.stored, counts.dead]
    return [lane, *common, *(getattr(counts, name) for name in rare)]


def _as_json(seen: Status, states: Mapping[str, LaneState]) -> dict[str, Any]:
    names = ("pending", "accepted", "stored", "skipped", "dead", "purged", "open_streams")
    return {
        "at": seen.at,
        "stored_up_to": seen.stored_up_to,
        "workers": seen.workers,
        "lanes": {
            lane: {
                **{name: getattr(counts, name) for name in names},
                "oldest_age_s": seen.oldest_age_s(lane),
                **states[lane].as_json(),
            }
            for lane, counts in seen.lanes.items()
        },
    }
