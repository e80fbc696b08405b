"""What `penstock status --vectors` says of the vector store: how each collection lies there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.cli.connection import vectors_at
from penstock.cli.display import print_table, say

if TYPE_CHECKING:
    from penstock.stores.vector_contract import Shape

_TIMEOUT_S = 20.0
"""The first look at a server's collections may take seconds."""

_COUNTS = ("vectors", "tombstones", "fragments", "versions", "indexed")


class VectorGlance(NamedTuple):
    """The vector store, as far as it answered."""

    shapes: Sequence[tuple[str, Shape]]
    ill: str | None
    """Why not all of it is told."""

    @classmethod
    async def at(cls, url: str) -> VectorGlance:
        """How the collections at *url* lie. Raises only for a URL that makes no sense."""
        from penstock.stores.errors import StoreError  # noqa: PLC0415 - see `app`

        shapes: list[tuple[str, Shape]] = []
        async with vectors_at(url) as store:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    for name in await store.collections():
                        shape = await store.shape(name)
                        if shape is not None:  # it was dropped meanwhile
                            shapes.append((name, shape))
            except StoreError as exc:
                return cls(shapes, str(exc))
            except TimeoutError:
                return cls(shapes, f"no answer within {_TIMEOUT_S:g} s")
        return cls(shapes, None)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"collections": {name: asdict(shape) for name, shape in self.shapes}, "error": self.ill}

    def show(self) -> None:
        """For people. What a backend has no such thing as is left out."""
        told = [each for each in _COUNTS if any(getattr(shape, each) is not None for _, shape in self.shapes)]
        if self.shapes:
            rows = [[name, *(getattr(shape, each) for each in told)] for name, shape in self.shapes]
            print_table(["collection", *told], rows, told)
        elif not self.ill:
            say("The vector store has no collections.")
        if self.ill:
            say(f"Vector store: not well ({self.ill}).")
