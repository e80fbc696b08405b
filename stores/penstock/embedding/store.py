"""A vector store that is given texts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeAlias

from penstock.embedding.cache import VectorCache
from penstock.embedding.contract import Embedder, EmbedderRejected
from penstock.stores.contract import Fence, Partial, Store, Trial
from penstock.wire.records import Embedding, Record

Write: TypeAlias = Callable[[Sequence[Record], Fence | None], Coroutine[Any, Any, int]]


class EmbeddingStore:
    """Embeds what has a text and no vector, then hands everything to *inner*. See `Store`.

    An embedder's failure is the store's: what may pass pauses the lane, a refused text becomes a dead letter alone.
    """

    def __init__(self, inner: Store, embedder: Embedder) -> None:
        self.inner = inner
        self.vectors = VectorCache(embedder)

    async def setup(self, *, migrate: bool = True) -> None:
        """See `Store.setup`."""
        await self.inner.setup(migrate=migrate)

    async def embedded(self, records: Sequence[Record]) -> Sequence[Record]:
        """*records*, in their order, each with its vector. Raises as `Store.write` does."""
        lacking = [at for at, record in enumerate(records) if _lacks_vector(record)]
        if not lacking:
            return records
        # Those that lack one are embeddings with a text: nothing else does.
        made = await self.vectors.vectors_of([records[at].text or "" for at in lacking])  # type: ignore[union-attr]
        whole = list(records)
        for at, vector in zip(lacking, made, strict=True):
            whole[at] = whole[at]._replace(vector=vector)  # type: ignore[call-arg]
        return whole

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`."""
        return await self.inner.write(await self.embedded(records), fence)

    def through(self, write: Write) -> Write:
        """*write*, given records that are embedded."""

        async def embed_and_write(records: Sequence[Record], fence: Fence | None = None) -> int:
            return await write(await self.embedded(records), fence)

        return embed_and_write

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`. Embeds, which may cost what the model costs."""
        tried = await self._embedded_or_refused(records)
        trials = iter(await self.inner.rehearse([each for each in tried if not isinstance(each, Trial)]))
        return [each if isinstance(each, Trial) else next(trials) for each in tried]

    async def _embedded_or_refused(self, records: Sequence[Record]) -> list[Record | Trial]:
        """*records*, each with its vector; in the place of one whose text is refused, what the embedder says of it."""
        try:
            return list(await self.embedded(records))
        except EmbedderRejected as exc:
            if len(records) == 1:
                return [Trial(is_new=False, refusal=str(exc))]
            half = len(records) // 2
            return [
                *await self._embedded_or_refused(records[:half]),
                *await self._embedded_or_refused(records[half:]),
            ]

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """See `Store.partials`."""
        return await self.inner.partials(ids)

    async def check(self) -> None:
        """See `Store.check`. The embedder is not asked: it may cost, and its next batch tells."""
        await self.inner.check()

    async def close(self) -> None:
        """Close both."""
        try:
            await self.vectors.embedder.close()
        finally:
            await self.inner.close()


def _lacks_vector(record: Record) -> bool:
    return isinstance(record, Embedding) and not record.vector and record.text is not None
