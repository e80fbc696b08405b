"""Texts to vectors as they are stored, in calls of the embedder's size, and never trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from penstock.embedding.contract import Embedder, EmbedderRejected, EmbedderUnavailable
from penstock.stores.errors import StoreError

_AT_ONCE = 4
"""Calls under way together: enough to hide a network's delay, few enough for a free account's rate limit."""


async def vectors_of(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
    """The vectors of *texts*, in their order, as little-endian float32 bytes. Each call is all or nothing.

    Raises:
        EmbedderUnavailable: Also for what the embedder raises and does not declare, and for an answer of another shape:
            neither is a text's fault.
        EmbedderRejected: Also for a vector that is not finite.
    """
    size = max(1, embedder.batch_size)
    room = asyncio.Semaphore(_AT_ONCE)

    async def part(at: int) -> list[bytes]:
        async with room:
            return await _part(embedder, texts[at : at + size])

    tasks = [asyncio.ensure_future(part(at)) for at in range(0, len(texts), size)]
    try:
        parts = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        # Seen to their end: a refusal beside the one that is raised would be reported as never retrieved.
        await asyncio.gather(*tasks, return_exceptions=True)
    return [vector for part in parts for vector in part]


async def _part(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
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
