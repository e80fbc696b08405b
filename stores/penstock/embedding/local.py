"""A model of sentence-transformers, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.embedding.contract import EmbedderUnavailable
from penstock.embedding.functions import FunctionEmbedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_SIZE = 64


class LocalEmbedder:
    """The *model* that `SentenceTransformer(model)` loads: a name of its hub, or a folder. Its vectors have length 1.

    It is loaded by the first call, in a thread. Calls follow one another: a model uses all cores by itself.
    """

    def __init__(self, model: str, *, batch_size: int = BATCH_SIZE) -> None:
        self._model = model
        self._batch_size = batch_size
        self._loading: asyncio.Task[FunctionEmbedder] | None = None

    @property
    def name(self) -> str:
        """See `Embedder.name`."""
        return self._model

    @property
    def batch_size(self) -> int:
        """See `Embedder.batch_size`."""
        return self._batch_size

    async def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """See `Embedder.embed`."""
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.ensure_future(self._load())
        return await (await asyncio.shield(self._loading)).embed(texts)

    async def _load(self) -> FunctionEmbedder:
        try:
            model = await asyncio.to_thread(_load, self._model)
        except (OSError, ValueError, RuntimeError) as exc:
            raise EmbedderUnavailable(f"embedder {self._model} cannot be loaded ({type(exc).__name__})") from exc

        def encode(texts: list[str]) -> Any:
            return model.encode(texts, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)

        return FunctionEmbedder(encode, name=self._model, batch_size=self._batch_size)

    async def close(self) -> None:
        """See `Embedder.close`. A model that is being loaded is loaded to its end."""
        if self._loading is not None:
            await asyncio.wait([self._loading])
            self._loading = None


def _load(model: str) -> Any:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds, and hundreds of megabytes

    return SentenceTransformer(model)
