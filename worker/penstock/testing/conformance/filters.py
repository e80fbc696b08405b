"""What a compiled filter must mean, whatever the SQL: the same as the predicate in Python, for every row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.stores.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_ITEMS, Condition, parse
from penstock.stores.predicate import predicate
from penstock.testing.conformance.filter_strategies import wild_filters, wild_objects

Document: TypeAlias = Mapping[str, Any] | None
Filter: TypeAlias = Mapping[str, Any]

_documents: st.SearchStrategy[list[Document]] = st.lists(st.none() | wild_objects, min_size=1, max_size=8)

_HOSTILE = ["' OR 1 = 1 --", "'); DROP TABLE documents; --", '"]}', ":where_0", "$1", "%s", "{}", "\\'", "'::text"]


def _expected(documents: Sequence[Document], where: Filter) -> list[bool]:
    holds = predicate(parse(where))
    return [holds(document or {}) for document in documents]


class FilterConformance(ABC):
    """Every compiler passes every test here, unchanged."""

    @abstractmethod
    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        """The SQL of *condition* on the column `metadata`, and its values."""

    @abstractmethod
    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        """The value of each of *wheres* for each of *documents*, as the column `metadata` of a real table."""

    def holds(self, document: Document, where: Filter) -> Any:
        return self.results([document], [where])[0][0]

    @given(documents=_documents, wheres=st.lists(wild_filters, min_size=1, max_size=6))
    @settings(
        max_examples=200,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    def test_a_filter_means_what_the_predicate_says(self, documents: list[Document], wheres: list[Filter]) -> None:
        for where, found in zip(wheres, self.results(documents, wheres), strict=True):
            assert found == _expected(documents, where), where

    @pytest.mark.parametrize("op", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains"])
    def test_integers_and_floats_compare_exactly(self, op: str) -> None:
        whole = [0, 2**53, 2**53 + 1, 2**60, 2**60 + 24, 2**63 - 1, -(2**63), -(2**60) - 1]
        numbers = [*whole, *map(float, whole), -0.0, 0.1, 1.5, 0.1 + 0.2, 1e22, 1e300, 5e-324, 1.7976931348623157e308]
        documents: list[Document] = [{"n": [n] if op == "$contains" else n} for n in numbers]
        wheres = [{"n": {op: n}} for n in numbers]

        for where, found in zip(wheres, self.results(documents, wheres), strict=True):
            assert found == _expected(documents, where), where

    def test_missing_metadata_is_an_empty_object(self) -> None:
        wheres: list[Filter] = [{"a": 1}, {"a": {"$ne": 1}}, {"a": {"$exists": True}}, {"a": {"$exists": False}}, {}]

        assert self.results([None, {}], wheres) == [[value] * 2 for value in (False, True, False, True, True)]

    def test_null_exists_and_equals_nothing(self) -> None:
        wheres: list[Filter] = [
            {"a": {"$exists": True}},
            {"a": "null"},
            {"a": {"$in": [0, "", False]}},
            {"a": {"$lt": 1}},
        ]

        assert self.results([{"a": None}], wheres) == [[True], [False], [False], [False]]

    @pytest.mark.parametrize("op", ["$eq", "$ne", "$in", "$contains", "$gte", "$lte"])
    def test_no_value_is_taken_for_one_of_another_kind(self, op: str) -> None:
        scalars = [0, 1, 1.0, True, False, "", "0", "1", "1.0", "true", "True", "null", "[1]", '{"a":1}', "x"]
        arguments = [each for each in scalars if op not in {"$gte", "$lte"} or type(each) in {int, float}]
        fields = [*scalars, None, [], {}, {"a": 1}, *([each] for each in scalars), [None], [[1]], [{"a": 1}]]
        documents: list[Document] = [{"n": each} for each in fields]
        wheres = [{"n": {op: [each] if op == "$in" else each}} for each in arguments]

        for where, found in zip(wheres, self.results(documents, wheres), strict=True):
            assert found == _expected(documents, where), where

    @pytest.mark.parametrize("value", _HOSTILE)
    def test_values_are_bound_and_never_part_of_the_text(self, value: str) -> None:
        where = {"a-b": value, "b": {"$contains": value}, "c": {"$in": [value, 1, True]}}
        sql, _ = self.compiled(parse(where))

        assert sql == self.compiled(parse({"another": "1", "b": {"$contains": "1"}, "c": {"$in": ["1", 1, True]}}))[0]
        assert self.holds({"a-b": value, "b": [value], "c": value}, where) is True
        assert self.holds({"a-b": "x", "b": [value], "c": value}, where) is False

    @pytest.mark.parametrize("op", ["$and", "$or"])
    def test_as_many_conditions_as_a_filter_may_have(self, op: str) -> None:
        where = {op: [{f"f{n}": {"$ne": n}} for n in range(MAX_ITEMS)]}

        assert self.holds({}, where) is True
        assert self.holds({f"f{n}": n for n in range(MAX_ITEMS)}, where) is False
        assert self.holds({"f7": 7}, where) is (op == "$or")

    def test_as_many_conditions_as_a_filter_may_have_in_all(self) -> None:
        """As deep, as wide and with as many values as can be."""
        level = MAX_CONDITIONS // MAX_DEPTH
        numbers = iter(range(MAX_CONDITIONS))
        where: Filter = {}
        for op in ["$and", "$not"] * (MAX_DEPTH // 2):
            group = {f"f{n}": {"$nin": [f"v{n}", 2**60 + n, True]} for n in islice(numbers, level)}
            where = {op: [group, where]} if op == "$and" else {op: {**group, **where}}
        documents: list[Document] = [{}, {"f0": "v0"}, {"f0": 2**60}, {f"f{level}": True}]

        assert self.results(documents, [where]) == [_expected(documents, where)]

    def test_as_many_values_as_a_list_may_have(self) -> None:
        where = {"n": {"$in": [f"v{n}" for n in range(MAX_ITEMS)]}}

        assert self.results([{"n": f"v{MAX_ITEMS - 1}"}, {"n": f"v{MAX_ITEMS}"}], [where]) == [[True, False]]
