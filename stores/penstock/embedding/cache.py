"""Vectors that were made before, by a hash of their text: a redelivery, a replay and a repeated text cost no model."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from penstock.embedding.checking import vectors_of
from penstock.embedding.contract import Embedder

CACHE_BYTES = 64 * 1024 * 1024
"""40,000 vectors of 384 numbers, or 10,000 of 1,536."""

_ENTRY_BYTES = 150
"""What an entry takes beside its vector (`sys.getsizeof` of key, bytes object and a share of the dict)."""


class VectorCache:
    """The vectors of one embedder, the latest used ones within a number of bytes."""

    def __init__(self, embedder: Embedder, max_bytes: int = CACHE_BYTES) -> None:
        self.embedder = embedder
        self.hits = 0
        """Texts that were not embedded again."""
        self.misses = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    async def vectors_of(self, texts: Sequence[str]) -> list[bytes]:
        """See `checking.vectors_of`. Each text that is not known is embedded once, however often it is there."""
        keys = [self._key(text) for text in texts]
        # Looked up before anything is awaited: another call may push out what is known now.
        found = {key: self._used(key) for key in dict.fromkeys(keys) if key in self._known}
        lacking = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        self.hits += len(texts) - len(lacking)
        self.misses += len(lacking)
        if lacking:
            made = await vectors_of(self.embedder, list(lacking.values()), self._keep_all)
            found.update(zip(lacking, made, strict=True))
        return [found[key] for key in keys]

    def _key(self, text: str) -> bytes:
        # A surrogate is no text that a builder lets pass, but a search may be asked for one.
        content = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=24, key=_digest(self.embedder.name)).digest()

    def _used(self, key: bytes) -> bytes:
        self._known.move_to_end(key)
        return self._known[key]

    def _keep_all(self, texts: Sequence[str], vectors: Sequence[bytes]) -> None:
        for text, vector in zip(texts, vectors, strict=True):
            self._keep(self._key(text), vector)

    def _keep(self, key: bytes, vector: bytes) -> None:
        if key not in self._known:
            self._bytes += len(vector) + _ENTRY_BYTES
        self._known[key] = vector
        while self._bytes > self._max_bytes:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= len(oldest) + _ENTRY_BYTES


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=32).digest()
