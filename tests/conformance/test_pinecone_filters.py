"""Filters as Pinecone gets them mean the same as the predicate in Python, by the rules of its documentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from penstock.stores.filters import Condition, parse
from penstock.stores.pinecone import vectors
from penstock.stores.pinecone.filtering import to_filter
from penstock.stores.pinecone.vectors import id_of, to_requests
from penstock.stores.points.encoding import to_points
from penstock.stores.points.engine import Layout
from penstock.stores.points.filtering import to_wanted
from penstock.testing.conformance.filters import Document, Filter, FilterConformance
from penstock.testing.conformance.vector_records import embedding
from tests.conformance.pinecone_server import kept, predicate_of

LAYOUT = Layout(2, "cosine")


@pytest.fixture(autouse=True, scope="module")
def roomy() -> Iterator[None]:
    """What a filter means does not depend on how much fits beside a vector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "METADATA_BYTES", 10**6)
        yield


class TestPineconeFilters(FilterConformance):
    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        wanted = to_wanted(condition)
        return ("" if wanted is None else _shape(to_filter(wanted))), {}

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        records = [embedding(f"{n}", metadata=each) for n, each in enumerate(documents)]
        sent = [each for part in to_requests(to_points(records, LAYOUT, id_of), LAYOUT) for each in part]
        found: list[list[Any]] = []
        for where in wheres:
            wanted = to_wanted(parse(where))
            holds = predicate_of({} if wanted is None else to_filter(wanted))
            found.append([holds(kept(each["metadata"])) for each in sent])
        return found


def _shape(where: Any) -> str:
    """*where* without its values."""
    if isinstance(where, dict):
        return f"{{{', '.join(f'{name}: {_shape(each)}' for name, each in where.items())}}}"
    return f"[{', '.join(map(_shape, where))}]" if isinstance(where, list) else "value"
