"""Filters as Weaviate gets them mean the same as the predicate in Python, by the rules of its documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weaviate.collections.filters import _FilterToGRPC

from penstock.stores.filters import Condition, parse
from penstock.stores.points.encoding import to_points
from penstock.stores.points.engine import Layout, Point
from penstock.stores.points.filtering import to_wanted
from penstock.stores.weaviate.filtering import numbers_in, to_filter
from penstock.stores.weaviate.objects import numbers_of, to_class, to_object
from penstock.testing.conformance.filters import Document, Filter, FilterConformance
from penstock.testing.conformance.vector_records import embedding
from tests.conformance.weaviate_server import Class, Stored, predicate_of

LAYOUT = Layout(2, "cosine")


class TestWeaviateFilters(FilterConformance):
    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        wanted = to_wanted(condition)
        if wanted is None:
            return "", {}
        return _shape(_FilterToGRPC.convert(to_filter(wanted, numbers_in(wanted)))), {}

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        points = to_points([embedding(f"{n}", metadata=each) for n, each in enumerate(documents)], LAYOUT)
        found = _class_with(points)
        objects = [Stored(each.id, dict(to_object(each, LAYOUT).properties), None) for each in points]
        results: list[list[Any]] = []
        for where in wheres:
            wanted = to_wanted(parse(where))
            if wanted is None:
                results.append([True] * len(objects))
            else:
                holds = predicate_of(_FilterToGRPC.convert(to_filter(wanted, found.properties.keys())), found)
                results.append([holds(each) for each in objects])
        return results


def _class_with(points: Sequence[Point]) -> Class:
    schema = to_class("docs", LAYOUT)
    names = {name for each in points for name, _ in numbers_of(each)}
    schema["properties"] += [{"name": each, "dataType": ["number"], "indexFilterable": True} for each in names]
    return Class(schema)


def _shape(where: Any) -> str:
    """*where* without its values, and without the names of properties, which are made of digests."""
    inner = ", ".join(map(_shape, where.filters))
    return f"{where.operator} of {len(where.value_text_array.values)} ({inner})"
