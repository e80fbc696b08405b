"""An embedder without a model: words are hashed to places of a vector. For tests, and to try things out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from penstock.stores.search import words

if TYPE_CHECKING:
    from numpy.typing import NDArray


class HashingEmbedder:
    """The same vector for the same text on every machine, of length 1; texts that share words are near each other.

    It knows nothing of meaning: `boat` and `ship` are as far apart as `boat` and `tax`.
    """

    batch_size = 1_000

    def __init__(self, dimension: int = 256) -> None:
        if dimension < 1:
            raise ValueError(f"dimension is {dimension}; at least 1 is needed")
        self._dimension = dimension

    @property
    def name(self) -> str:
        """See `Embedder.name`."""
        return f"hashing-{self._dimension}"

    async def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """See `Embedder.embed`. A text without words is a word itself."""
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    def _vector(self, text: str) -> list[float]:
        sums = [0.0] * self._dimension
        for word in words(text) or [text]:
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            place = int.from_bytes(digest, "big")
            sums[(place >> 1) % self._dimension] += 1.0 if place & 1 else -1.0
        length = math.hypot(*sums)
        if length == 0:  # two words that cancel each other out
            sums[0] = length = 1.0
        return [each / length for each in sums]

    async def close(self) -> None:
        """Nothing to let go of."""
