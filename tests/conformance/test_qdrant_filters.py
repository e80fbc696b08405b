"""Filters as terms and numbers of points mean the same as the predicate in Python, to Qdrant's own engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
import qdrant_edge

from penstock.stores.filters import Condition, parse
from penstock.stores.points.encoding import point_id, to_points
from penstock.stores.points.engine import Group, Layout, Number, Term, Wanted
from penstock.stores.points.filtering import to_wanted
from penstock.stores.qdrant import edge_models, messages
from penstock.testing.conformance.filters import Document, Filter, FilterConformance
from penstock.testing.conformance.vector_records import embedding
from tests.conformance.qdrant_reader import quick_folder
from tests.conformance.qdrant_server import to_edge_filter

LAYOUT = Layout(2, "dot")


@pytest.fixture(scope="module")
def shard() -> Iterator[Any]:
    with quick_folder() as folder:
        shard = qdrant_edge.EdgeShard.create(str(folder / "shard"), edge_models.to_config(LAYOUT))
        shard.update(qdrant_edge.UpdateOperation.create_field_index("terms", qdrant_edge.PayloadSchemaType.Keyword))
        yield shard
        shard.close()


class TestQdrantFilters(FilterConformance):
    @pytest.fixture(autouse=True)
    def keep(self, shard: Any) -> None:
        self.shard = shard

    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        return _shape(cast("Wanted", to_wanted(condition))), {}

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        put = qdrant_edge.UpdateOperation.upsert_points
        records = [embedding(f"{n}", metadata=each) for n, each in enumerate(documents)]
        self.shard.update(put([edge_models.to_point(each) for each in to_points(records, LAYOUT)]))
        ids: list[Any] = [point_id(record.key) for record in records]
        try:
            return [self._holding(ids, where) for where in wheres]
        finally:
            self.shard.update(qdrant_edge.UpdateOperation.delete_points(ids))

    def _holding(self, ids: Sequence[str], where: Mapping[str, Any]) -> list[bool]:
        wanted = to_wanted(parse(where))
        if wanted is None:
            return [True] * len(ids)
        sent = messages.to_filter(wanted)
        found = [self._found(each) for each in (edge_models.to_filter(wanted), to_edge_filter(sent))]
        assert found[0] == found[1], "in process and as a message a filter means the same"
        return [each in found[0] for each in ids]

    def _found(self, wanted: Any) -> set[str]:
        asked = qdrant_edge.ScrollRequest(limit=10_000, filter=wanted, with_payload=False, with_vector=False)
        points, _ = self.shard.scroll(asked)
        return {str(each.id) for each in points}


def _shape(wanted: Wanted) -> str:
    """*wanted* without its values."""
    match wanted:
        case Term(values):
            return f"term of {len(values)}"
        case Number(key, op, _):
            return f"{key} {op}"
        case Group(must, should, must_not):
            return f"({[*map(_shape, must)]} {[*map(_shape, should)]} {[*map(_shape, must_not)]})"
