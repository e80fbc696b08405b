"""Filters as PostgreSQL's SQL over a column of type json."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from penstock.stores.filters import Compares, Condition, Contains, Equals, Exists, Leaf, Scalar, to_sql

_EXACT = 2**53
"""Below it every integer is a float, and written as exactly: one decimal is compared with the texts of both."""

_Bind: TypeAlias = Callable[[Hashable], str]


def compiled(condition: Condition, column: str) -> tuple[str, dict[str, Any]]:
    """The SQL of *condition*, and the values of its places: `:where_0`, `:where_1` and so on.

    True or false, never NULL. Where *column* is NULL, it is taken for an empty object. Every value is bound, paths
    too; equal ones share a place.
    """
    places: dict[Hashable, str] = {}

    def bind(value: Hashable) -> str:
        return places.setdefault(value, f":where_{len(places)}")

    sql = to_sql(condition, lambda leaf: _leaf(leaf, column, bind))
    return sql, {place[1:]: value for value, place in places.items()}


def _leaf(leaf: Leaf, column: str, bind: _Bind) -> str:
    if isinstance(leaf, Equals) and not leaf.values:
        return "false"
    path = f"{bind(leaf.path)}::text[]"
    field, text = f"({column} #> {path})", f"({column} #>> {path})"
    match leaf:
        case Exists():
            return f"({field} IS NOT NULL)"
        case Compares(_, op, number):
            return _number(field, text, op, [number], bind)
        case Equals(_, values):
            return f"coalesce({_is_one_of(field, text, values, bind)}, false)"
        case Contains(_, element):
            items = f"json_array_elements(CASE json_typeof({field}) WHEN 'array' THEN {field} END) AS item (value)"
            is_element = _is_one_of("item.value", "(item.value #>> '{}')", [element], bind)
            return f"EXISTS (SELECT FROM {items} WHERE {is_element})"


def _is_one_of(value: str, text: str, values: Sequence[Scalar], bind: _Bind) -> str:
    """Whether *value*, whose text is *text*, is one of *values*; looks at the kind last, as it costs most."""
    options = []
    if texts := tuple(each for each in values if isinstance(each, str)):
        options.append(f"{text} = ANY({bind(texts)}::text[]) AND json_typeof({value}) = 'string'")
    if flags := tuple(str(each).lower() for each in values if isinstance(each, bool)):
        options.append(f"{text} = ANY({bind(flags)}::text[]) AND json_typeof({value}) = 'boolean'")
    if numbers := [each for each in values if not isinstance(each, str | bool)]:
        options.append(_number(value, text, "=", numbers, bind))
    return f"({' OR '.join(options)})"


def _number(value: str, text: str, op: str, numbers: Sequence[float], bind: _Bind) -> str:
    """Whether `value <op> number` holds for one of *numbers*, exactly as Python compares integers and floats.

    The text of a float is not its value: that of 2.0**60 ends in 7000 instead of 6976. A CASE and no AND, which has no
    order: the server might cast a word to a number before it sees that it is a word.
    """
    others = f"{bind(tuple(map(_among_floats, numbers)))}::numeric[]"
    if any(abs(number) >= _EXACT for number in numbers):
        among_integers = f"{bind(tuple(map(Decimal, numbers)))}::numeric[]"
        others = f"CASE WHEN {text} ~ '[.eE]' THEN {others} ELSE {among_integers} END"
    return f"CASE json_typeof({value}) WHEN 'number' THEN {text}::numeric {op} ANY({others}) ELSE false END"


def _among_floats(number: float) -> Decimal:
    """What the texts of floats compare with as the floats themselves do with *number*."""
    near = float(number)
    if near == number:
        return Decimal(repr(near))
    # No float lies between the two, so that any decimal between their texts will do.
    other = math.nextafter(near, math.inf if near < number else -math.inf)
    return (Decimal(repr(near)) + Decimal(repr(other))) / 2
