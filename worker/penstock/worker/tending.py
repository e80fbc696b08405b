"""Upkeep of the vectors: tombstones, fragments and indexes of one collection after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable

from penstock.stores.errors import StoreError
from penstock.stores.vector_contract import VectorStore


async def tend_all(
    store: VectorStore, tombstones_before_us: int, pause: Callable[[float], Awaitable[bool]], done: Counter[str]
) -> None:
    """Tend every collection of *store* that is due, or as many as *pause* allows; *done* counts what was done.

    Raises:
        StoreError: Why one of the collections could not be tended; it may be none of ours. The others were.
    """
    failure: StoreError | None = None
    for collection in await store.collections():
        began = time.monotonic()
        try:
            if not await store.is_due(collection):
                continue
            done.update(await store.tend(collection, tombstones_before_us))
        except StoreError as exc:
            failure = failure or exc
        if not await pause(time.monotonic() - began):
            break
    if failure is not None:
        raise failure
