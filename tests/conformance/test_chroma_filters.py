"""Filters in Chroma's language mean the same as the predicate in Python, to Chroma itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import chromadb
import pytest

from penstock.stores.chroma.filtering import to_where
from penstock.stores.chroma.rows import to_row
from penstock.stores.filters import Condition, parse
from penstock.stores.points.encoding import to_points
from penstock.stores.points.engine import Layout, Wanted
from penstock.stores.points.filtering import to_wanted
from penstock.stores.points.flat import ordered
from penstock.testing.conformance.filters import Document, Filter, FilterConformance
from penstock.testing.conformance.vector_records import embedding
from tests.conformance.chroma_reader import SETTINGS
from tests.conformance.qdrant_reader import quick_folder

LAYOUT = Layout(2, "dot")


@pytest.fixture(scope="module")
def rows() -> Iterator[Any]:
    with quick_folder() as folder:
        client: Any = chromadb.PersistentClient(folder, SETTINGS)
        yield client.create_collection("documents", embedding_function=None)
        client.close()


class TestChromaFilters(FilterConformance):
    @pytest.fixture(autouse=True)
    def keep(self, rows: Any) -> Iterator[None]:
        """Rows of one test stay beside one another: to delete those of each example took half of its time."""
        self.rows = rows
        self.written: list[str] = []
        yield
        rows.delete(ids=self.written)

    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        return _shape(to_where(cast("Wanted", to_wanted(condition)))), {}

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        first = len(self.written)
        records = [embedding(f"{n}", metadata=each) for n, each in enumerate(documents, first)]
        made = [to_row(each, LAYOUT, ()) for each in to_points(records, LAYOUT, str)]
        ids, vectors, metadata = (list(each) for each in zip(*made, strict=True))
        self.written += ids
        self.rows.upsert(ids=ids, embeddings=vectors, metadatas=metadata)
        return [self._holding(ids, where) for where in wheres]

    def _holding(self, ids: Sequence[str], where: Mapping[str, Any]) -> list[bool]:
        wanted = to_wanted(parse(where))
        if wanted is None:
            return [True] * len(ids)
        found = set(self.rows.get(where=to_where(wanted), include=[])["ids"])
        return [each in found for each in ids]


def _shape(where: Any) -> Any:
    """*where* without its values."""
    if isinstance(where, Mapping):
        return str({name: _shape(each) for name, each in where.items()})
    return str([_shape(each) for each in where]) if isinstance(where, list) else "?"


def test_integers_stand_in_the_order_of_their_floats() -> None:
    floats = [-1.7976931348623157e308, -(2.0**63), -1.5, -1.0, -5e-324, 0.0, 5e-324, 1.0, 1.5, 2.0**53, 1e300]

    assert sorted(floats, key=ordered) == floats
    assert ordered(-0.0) == ordered(0.0)
    assert len({ordered(each) for each in floats}) == len(floats)
