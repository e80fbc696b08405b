"""Filters as SQLite's SQL over a column of JSON text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import orjson

from penstock.stores.filters import Compares, Condition, Contains, Equals, Exists, Leaf, Path, Scalar, to_sql

_Bind: TypeAlias = Callable[[str], str]


def compiled(condition: Condition, column: str) -> tuple[str, dict[str, Any]]:
    """The SQL of *condition*, and the values of its places: `:where_0`, `:where_1` and so on.

    True or false, never NULL. Where *column* is NULL, it is taken for an empty object. Every value is bound, paths
    too; equal ones share a place.

    Numbers are bound as JSON, so that one parser reads both sides: some builds of SQLite 3.40 read one float of some
    50,000 as its neighbour, which would not equal the float itself.
    """
    places: dict[str, str] = {}

    def bind(value: str) -> str:
        return places.setdefault(value, f":where_{len(places)}")

    sql = to_sql(condition, lambda leaf: _leaf(leaf, column, bind))
    return sql, {place[1:]: value for value, place in places.items()}


def _leaf(leaf: Leaf, column: str, bind: _Bind) -> str:
    if isinstance(leaf, Equals) and not leaf.values:
        return "(1 = 0)"
    field = f"{column}, {bind(_path(leaf.path))}"
    kind, value = f"json_type({field})", f"json_extract({field})"
    match leaf:
        case Exists():
            return f"({kind} IS NOT NULL)"
        case Compares(_, op, number):
            return f"coalesce({value} {op} json_extract({bind(_json(number))}, '$') AND {_is_number(kind)}, 0)"
        case Equals(_, values):
            return f"coalesce({_is_one_of(kind, value, values, bind)}, 0)"
        case Contains(_, element):
            # Of what json_each gives, only the elements of a list have an integer for a key.
            is_element = f"typeof(item.key) = 'integer' AND {_is_one_of('item.type', 'item.value', [element], bind)}"
            return f"EXISTS (SELECT 1 FROM json_each({field}) AS item WHERE {is_element})"  # noqa: S608 - all bound


def _is_one_of(kind: str, value: str, values: Sequence[Scalar], bind: _Bind) -> str:
    """Whether *value* is one of *values*, of its kind too: JSON's true comes out as 1, and a list as text."""
    options = []
    if texts := [each for each in values if isinstance(each, str)]:
        options.append(f"{value} IN {_listed(texts, bind)} AND {kind} = 'text'")
    if numbers := [each for each in values if not isinstance(each, str | bool)]:
        options.append(f"{value} IN {_listed(numbers, bind)} AND {_is_number(kind)}")
    if flags := [str(each).lower() for each in values if isinstance(each, bool)]:
        options.append(f"{kind} IN {_listed(flags, bind)}")
    return f"({' OR '.join(options)})"


def _is_number(kind: str) -> str:
    return f"{kind} IN ('integer', 'real')"


def _listed(values: Sequence[Scalar], bind: _Bind) -> str:
    return f"(SELECT value FROM json_each({bind(_json(values))}))"  # noqa: S608 - a place


def _path(path: Path) -> str:
    return "$" + "".join(f'."{name}"' for name in path)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
