"""What the contract of vector stores is tried with: records, and rows as the out-of-band reader sees them."""

from __future__ import annotations

import array
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from hypothesis import HealthCheck, settings

from penstock.stores.vector_contract import VectorStore
from penstock.wire.ids import new_id
from penstock.wire.records import Embedding, EmbeddingDeletion, Message


class Row(NamedTuple):
    """One stored vector, as the out-of-band reader sees it."""

    vector: list[float]
    text: str | None
    metadata: dict[str, Any]
    version: int


def floats(*numbers: float) -> bytes:
    return array.array("f", numbers).tobytes()


def embedding(
    key: str,
    *vector: float,
    collection: str = "docs",
    at_us: int = 1,
    text: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Embedding:
    encoded = None if metadata is None else orjson.dumps(metadata)
    return Embedding(new_id(), at_us, collection, key, floats(*(vector or (1.0, 0.0))), text, encoded)


def deletion(key: str, *, collection: str = "docs", at_us: int = 2) -> EmbeddingDeletion:
    return EmbeddingDeletion(new_id(), at_us, collection, key)


class VectorSubject(ABC):
    """What every part of the contract needs of a backend's test class."""

    @abstractmethod
    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        """The collection by key, without tombstones, read without *store*; empty when it does not exist.

        Fails when a key is there twice.
        """


MESSAGE = Message(new_id(), 1, "session", "user", "hello")

_numbers = itertools.count()


def examples(count: int) -> settings:
    """Settings of a property: each example takes a collection of its own, so one store serves them all,
    and one inherited test serves every store."""
    allowed = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    return settings(max_examples=count, deadline=None, suppress_health_check=allowed)


def fresh_collection() -> str:
    return f"fresh-{next(_numbers)}"
