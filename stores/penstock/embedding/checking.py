"""Texts to vectors as they are stored, in calls of the embedder's size, and never trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from penstock.embedding.contract import Embedder, EmbedderRejected, EmbedderUnavailable
from penstock.stores.errors import StoreError, StoreRejected

_AT_ONCE = 4
"""Calls under way together: enough to hide a network's delay, few enough for a free account's rate limit."""

Keep: TypeAlias = Callable[[Sequence[str], Sequence[bytes]], object]


async def vectors_of(embedder: Embedder, texts: Sequence[str], keep: Keep | None = None) -> list[bytes]:
    """The vectors of *texts*, in their order, as little-endian float32 bytes.

    *keep* is told of each call that went well, also beside one that did not: where a text is refused, all the others
    are embedded all the same, so that looking for it costs no call for them.

    Raises:
        EmbedderUnavailable: Also for what the embedder raises and does not declare, and for an answer of another shape:
            neither is a text's fault. No further call was begun.
        EmbedderRejected: Also for a vector that is not finite.
    """
    size = max(1, embedder.batch_size)
    room = asyncio.Semaphore(_AT_ONCE)
    made: dict[int, list[bytes]] = {}
    away: list[StoreError] = []
    refused: list[StoreError] = []

    async def call(at: int) -> None:
        part = texts[at : at + size]
        async with room:
            if away:
                return
            try:
                made[at] = await _part(embedder, part)
            except StoreError as exc:
                (refused if isinstance(exc, StoreRejected) else away).append(exc)
                return
        if keep is not None:
            keep(part, made[at])

    async with asyncio.TaskGroup() as calls:
        for at in range(0, len(texts), size):
            calls.create_task(call(at))
    if away or refused:
        raise (away or refused)[0]
    return [vector for at in sorted(made) for vector in made[at]]


async def _part(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
    import numpy as np  # noqa: PLC0415 - an extra, which a worker without an embedder does without

    try:
        found = np.asarray(await embedder.embed(texts), dtype="<f4")
    except StoreError:
        raise
    except Exception as exc:
        # Its words may quote the text, or a key.
        raise EmbedderUnavailable(f"embedder {embedder.name} failed with {type(exc).__name__}; see its log") from exc
    if found.ndim != 2 or len(found) != len(texts) or not found.shape[1]:
        raise EmbedderUnavailable(
            f"embedder {embedder.name} answered {len(texts)} texts with an array of shape {found.shape}; "
            f"({len(texts)}, dimension) is needed"
        )
    if not np.isfinite(found).all():
        raise EmbedderRejected(f"embedder {embedder.name} made a vector with numbers that are not finite")
    return [row.tobytes() for row in found]
