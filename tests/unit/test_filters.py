"""The filter language: what it accepts, what it refuses and how, and what it means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from penstock.stores.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_STRING_CHARS,
    OPERATORS,
    AllOf,
    AnyOf,
    Compares,
    Condition,
    Contains,
    Equals,
    Exists,
    FilterError,
    Leaf,
    Not,
    parse,
    to_sql,
)
from penstock.stores.lancedb.filtering import to_lance
from penstock.stores.predicate import predicate
from penstock.testing.conformance.filter_strategies import filters, objects
from penstock.wire.errors import PenstockError


@pytest.mark.parametrize(
    ("where", "tree"),
    [
        (None, AllOf(())),
        ({}, AllOf(())),
        ({"a": 1}, Equals(("a",), (1,))),
        ({"a": 1, "b": "x"}, AllOf((Equals(("a",), (1,)), Equals(("b",), ("x",))))),
        ({"a.b-c.d": True}, Equals(("a", "b-c", "d"), (True,))),
        ({"a": {"$eq": 1}}, Equals(("a",), (1,))),
        ({"a": {"$ne": 1}}, Not(Equals(("a",), (1,)))),
        ({"a": {"$in": [1, "x"]}}, Equals(("a",), (1, "x"))),
        ({"a": {"$nin": ()}}, Not(Equals(("a",), ()))),
        ({"a": {"$gte": 1, "$lt": 2.5}}, AllOf((Compares(("a",), ">=", 1), Compares(("a",), "<", 2.5)))),
        ({"a": {"$gt": 1}}, Compares(("a",), ">", 1)),
        ({"a": {"$lte": 1}}, Compares(("a",), "<=", 1)),
        ({"a": {"$exists": True}}, Exists(("a",))),
        ({"a": {"$exists": False}}, Not(Exists(("a",)))),
        ({"a": {"$contains": "x"}}, Contains(("a",), "x")),
        ({"$not": {"a": 1}}, Not(Equals(("a",), (1,)))),
        ({"$or": [{"a": 1}, {"b": 2}]}, AnyOf((Equals(("a",), (1,)), Equals(("b",), (2,))))),
        ({"$and": [{"a": 1}]}, AllOf((Equals(("a",), (1,)),))),
    ],
)
def test_a_filter_is_parsed_to_few_kinds_of_node(where: dict[str, Any] | None, tree: Condition) -> None:
    assert parse(where) == tree


@pytest.mark.parametrize("unknown", ["$gtt", "$regex", "gt", 3])
def test_an_unknown_operator_is_refused_by_name_with_the_known_ones(unknown: object) -> None:
    with pytest.raises(FilterError) as refused:
        parse({"a": {unknown: 1}})

    assert repr(unknown) in str(refused.value)
    assert all(known in str(refused.value) for known in OPERATORS)


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ({"a": {"$gtee": 1}}, r"did you mean \$gte\?"),
        ({"$nor": [{"a": 1}]}, r"known are \$and, \$or, \$not; did you mean \$or\?"),
        ({"$eq": 1}, "field's name goes before an operator"),
        ([("a", 1)], "a filter is a mapping .* not list"),
        ({"$not": 1}, "a filter is a mapping .* not int"),
        ({"$or": []}, rf"\$or: a list of 1 to {MAX_ITEMS}"),
        ({"$or": {"a": 1}}, rf"\$or: a list of 1 to {MAX_ITEMS}"),
        ({"a": {}}, "a: an empty condition"),
        ({"": 1}, "field ''"),
        ({"a b": 1}, "field 'a b'"),
        ({"a..b": 1}, r"field 'a\.\.b'"),
        ({"a'; DROP TABLE x; --": 1}, "field"),
        ({"a" * 64: 1}, "1 to 63"),
        ({7: 1}, "field 7"),
        ({"a": None}, "a: None is no finite number of 64 bits, text, True or False$"),
        ({"a": [1]}, r"a: \[1\] is no"),
        ({"a": {"$in": 1}}, "a: a list of at most"),
        ({"a": {"$in": [None]}}, "a: None is no"),
        ({"a": {"$in": list(range(MAX_ITEMS + 1))}}, f"at most {MAX_ITEMS}"),
        ({"a": {"$gt": "1"}}, "a: '1' is no finite number of 64 bits$"),
        ({"a": {"$gt": True}}, "a: True is no"),
        ({"a": float("nan")}, "a: nan is no"),
        ({"a": 2**63}, "64 bits"),
        ({"a": "\0"}, "control characters"),
        ({"a": "\ud800"}, "lone surrogates"),
        ({"a": "x" * (MAX_STRING_CHARS + 1)}, f"at most {MAX_STRING_CHARS}"),
        ({"a.b": {"$exists": 1}}, r"a\.b: \$exists takes True or False, not 1"),
    ],
)
def test_a_malformed_filter_is_refused_with_its_place_and_the_remedy(where: Any, hint: str) -> None:
    with pytest.raises(FilterError, match=hint):
        parse(where)


def test_a_filter_may_nest_so_deep_and_no_deeper() -> None:
    where: dict[str, Any] = {"a": 1}
    for _ in range(MAX_DEPTH):
        where = {"$not": where}
    parse(where)

    with pytest.raises(FilterError, match=f"at most {MAX_DEPTH} deep"):
        parse({"$not": where})


def test_a_filter_may_have_so_many_conditions_in_all_and_no_more() -> None:
    half = {"$or": [{"a": n, "$not": {"b": n}} for n in range(MAX_CONDITIONS // 4)]}
    parse({"$and": [half, half]})

    with pytest.raises(FilterError, match=rf"{MAX_CONDITIONS + 1} conditions, at most {MAX_CONDITIONS} .*\$in"):
        parse({"$and": [half, half, {"c": 1}]})


def test_a_filter_error_is_both_ours_and_a_value_error() -> None:
    assert issubclass(FilterError, PenstockError)
    assert issubclass(FilterError, ValueError)


@pytest.mark.parametrize(
    ("where", "holds_for", "fails_for"),
    [
        ({"a": 1}, [1, 1.0], [True, "1", 2, [1], None, ...]),
        ({"a": True}, [True], [1, "true", False, ...]),
        ({"a": "x"}, ["x"], ["X", ["x"], ...]),
        ({"a": {"$ne": 1}}, [2, "1", True, None, [1], ...], [1, 1.0]),
        ({"a": {"$in": [1, "x"]}}, [1, "x"], [2, ...]),
        ({"a": {"$in": []}}, [], [1, ...]),
        ({"a": {"$nin": [1]}}, [2, None, ...], [1]),
        ({"a": {"$gt": 1}}, [2, 1.5], [1, "2", True, None, [2], ...]),
        ({"a": {"$gte": 1, "$lt": 2}}, [1, 1.99], [2, 0, ...]),
        ({"a": {"$lte": 2**53}}, [2**53], [2**53 + 1]),
        ({"a": {"$exists": True}}, [None, 0, [], {}], [...]),
        ({"a": {"$exists": False}}, [...], [None, 0]),
        ({"a": {"$contains": 1}}, [[1], ["x", 1.0]], [1, [True], ["1"], [[1]], [], ...]),
        ({"$not": {"a": {"$gt": 1}}}, [1, "x", ...], [2]),
        ({"$or": [{"a": 1}, {"a": 2}]}, [1, 2], [3, ...]),
        ({"a.b": 1}, [{"b": 1}], [{"b": 2}, 1, [{"b": 1}], {}, ...]),
    ],
)
def test_a_filter_means_what_the_manual_says(where: dict[str, Any], holds_for: list[Any], fails_for: list[Any]) -> None:
    holds = predicate(parse(where))

    assert [value for value in holds_for if not holds(_document(value))] == []
    assert [value for value in fails_for if holds(_document(value))] == []


def _document(value: Any) -> dict[str, Any]:
    """A document whose field `a` is *value*; without the field for `...`."""
    return {} if value is ... else {"a": value}


@given(document=objects, where=filters)
def test_not_holds_exactly_where_the_filter_does_not(document: dict[str, Any], where: dict[str, Any]) -> None:
    assert predicate(parse({"$not": where}))(document) is not predicate(parse(where))(document)


def test_sql_keeps_the_tree_of_the_filter() -> None:
    def leaf(leaf: Leaf) -> str:
        return leaf.path[0]

    where = {"$or": [{"a": 1, "b": 2}, {"$not": {"c": 3}}, {}]}

    assert to_sql(parse(where), leaf) == "((a AND b) OR (NOT c) OR (1 = 1))"


def test_a_filter_for_everything_needs_no_sql_in_lance() -> None:
    assert to_lance(parse({})) is None


def test_quotes_in_text_do_not_end_a_literal_in_lance() -> None:
    sql = to_lance(parse({"a": "x' OR 1=1 --"}))

    assert sql == """(coalesce(json_extract(metadata, '$."a"') = '"x'' OR 1=1 --"', false))"""
