"""The filter language of a vector search: what can be asked, and what it means.

A filter is a mapping. Several keys must all hold.

    {"lang": "en"}                              equal
    {"year": {"$gte": 2020, "$lt": 2030}}       every operator must hold
    {"$or": [{"a": 1}, {"$not": {"b": 2}}]}     `$and`, `$or`, `$not` nest
    {"author.name": "Ada"}                      a dot goes into an object

Operators: `$eq` `$ne` `$in` `$nin` `$gt` `$gte` `$lt` `$lte` `$exists` `$contains`.

A missing field makes every operator false, but `$ne`, `$nin` and `$exists: false` true. Types are strict:
`True` is not 1, `"1"` is not 1, and 1 equals 1.0. Ranges compare numbers only. `$contains` asks whether a list
has the element; an equality never looks into a list. A field that is null exists and equals nothing.

`parse` checks a filter once and gives a tree of few node types; a backend compiles that tree (`to_sql`).
`penstock.stores.predicate` is the meaning itself, in Python: what every backend is tested against.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from penstock.wire.errors import PenstockError

MAX_DEPTH = 8
"""How deep `$and`, `$or` and `$not` may nest."""

MAX_ITEMS = 1_000
"""How many values a `$in` may list, and conditions a `$and` or `$or`."""

MAX_CONDITIONS = 2_000
"""How many conditions a filter may have in all. Each takes up to five values in SQL; a statement has 32,766 at most."""

MAX_STRING_CHARS = 4_096

_RUN = 32
"""How many expressions stand in a row. To SQLite each one is a level of the tree, of which it takes 1,000."""

CONNECTIVES = ("$and", "$or", "$not")

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z_][A-Za-z0-9_-]{0,62}){0,7}\Z")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

Scalar: TypeAlias = str | int | float | bool
Path: TypeAlias = tuple[str, ...]


class FilterError(PenstockError, ValueError):
    """A filter that nothing can be done with. The message names the place and the remedy."""


class Equals(NamedTuple):
    """The field is one of *values*; never, when there are none."""

    path: Path
    values: tuple[Scalar, ...]


class Compares(NamedTuple):
    """The field is a number, and `field <op> number` holds."""

    path: Path
    op: str
    """`>`, `>=`, `<` or `<=`."""
    number: int | float


class Exists(NamedTuple):
    """The field is there, null or not."""

    path: Path


class Contains(NamedTuple):
    """The field is a list with the element *value*."""

    path: Path
    value: Scalar


class Not(NamedTuple):
    """Two-valued: true exactly when *condition* is false."""

    condition: Condition


class AllOf(NamedTuple):
    """Every one holds; true, when there are none."""

    conditions: tuple[Condition, ...]


class AnyOf(NamedTuple):
    """At least one holds."""

    conditions: tuple[Condition, ...]


Leaf: TypeAlias = Equals | Compares | Exists | Contains
Condition: TypeAlias = Leaf | Not | AllOf | AnyOf


def parse(where: Mapping[str, Any] | None) -> Condition:
    """The checked tree of *where*; None and an empty mapping hold for everything.

    Raises:
        FilterError: Malformed, too large, or with an unknown operator.
    """
    condition = AllOf(()) if where is None else _group(where, MAX_DEPTH)
    if (count := _count(condition)) > MAX_CONDITIONS:
        raise FilterError(
            f"a filter of {count} conditions, at most {MAX_CONDITIONS} are accepted in all; "
            f"one $in can ask for {MAX_ITEMS} values"
        )
    return condition


def _count(condition: Condition) -> int:
    match condition:
        case AllOf(parts) | AnyOf(parts):
            return sum(map(_count, parts))
        case Not(inner):
            return _count(inner)
    return 1


def _group(where: object, depth: int) -> Condition:
    if not isinstance(where, Mapping):
        raise FilterError(f"a filter is a mapping of fields to conditions, not {type(where).__name__}")
    if depth < 0:
        raise FilterError(f"a filter nests at most {MAX_DEPTH} deep")
    conditions = [part for key, value in where.items() for part in _entry(key, value, depth)]
    return conditions[0] if len(conditions) == 1 else AllOf(tuple(conditions))


def _entry(key: object, value: object, depth: int) -> list[Condition]:
    if key == "$not":
        return [Not(_group(value, depth - 1))]
    if key == "$and":
        return [AllOf(_branches("$and", value, depth))]
    if key == "$or":
        return [AnyOf(_branches("$or", value, depth))]
    path = _path(key)
    if not isinstance(value, Mapping):
        return [Equals(path, (_scalar(path, value),))]
    if not value:
        raise FilterError(f"{key}: an empty condition; known operators are {', '.join(OPERATORS)}")
    return [_leaf(path, op, argument) for op, argument in value.items()]


def _branches(name: str, value: object, depth: int) -> tuple[Condition, ...]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_ITEMS:
        raise FilterError(f"{name}: a list of 1 to {MAX_ITEMS} filters is needed")
    return tuple(_group(part, depth - 1) for part in value)


def _path(key: object) -> Path:
    if isinstance(key, str) and key.startswith("$"):
        raise _unknown(
            key, CONNECTIVES if key not in OPERATORS else OPERATORS, "a field's name goes before an operator"
        )
    if not isinstance(key, str) or not _PATH.match(key):
        raise FilterError(f"field {key!r}: 1 to 63 of A-Z a-z 0-9 _ - are accepted, up to 8 names joined by dots")
    return tuple(key.split("."))


def _unknown(op: object, known: Sequence[str], hint: str = "") -> FilterError:
    near = difflib.get_close_matches(str(op), known, n=1) if op not in known else []
    hint = f"did you mean {near[0]}?" if near else hint
    return FilterError(f"unknown operator {op!r}; known are {', '.join(known)}" + (f"; {hint}" if hint else ""))


def _leaf(path: Path, op: object, argument: object) -> Condition:
    make = _LEAVES.get(op) if isinstance(op, str) else None
    if make is None:
        raise _unknown(op, OPERATORS)
    return make(path, argument)


def _equals(path: Path, argument: object) -> Equals:
    return Equals(path, (_scalar(path, argument),))


def _is_in(path: Path, argument: object) -> Equals:
    return Equals(path, _scalars(path, argument))


def _compares(op: str) -> Callable[[Path, object], Condition]:
    return lambda path, argument: Compares(path, op, _number(path, argument))


def _exists(path: Path, argument: object) -> Condition:
    if not isinstance(argument, bool):
        raise FilterError(f"{'.'.join(path)}: $exists takes True or False, not {argument!r}")
    return Exists(path) if argument else Not(Exists(path))


def _scalars(path: Path, values: object) -> tuple[Scalar, ...]:
    if not isinstance(values, list | tuple | set | frozenset) or len(values) > MAX_ITEMS:
        raise FilterError(f"{'.'.join(path)}: a list of at most {MAX_ITEMS} values is needed")
    return tuple(_scalar(path, value) for value in values)


def _scalar(path: Path, value: object) -> Scalar:
    if isinstance(value, str):
        return _string(path, value)
    if isinstance(value, bool):
        return value
    return _number(path, value, "finite number of 64 bits, text, True or False")


def _string(path: Path, value: str) -> str:
    if len(value) > MAX_STRING_CHARS:
        raise FilterError(f"{'.'.join(path)}: {len(value)} characters, at most {MAX_STRING_CHARS} are accepted")
    if _UNPRINTABLE.search(value):
        raise FilterError(f"{'.'.join(path)}: {value!r} has control characters or lone surrogates")
    return value


def _number(path: Path, value: object, needed: str = "finite number of 64 bits") -> int | float:
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise FilterError(f"{'.'.join(path)}: {value!r} is no {needed}")


_LEAVES: dict[str, Callable[[Path, object], Condition]] = {
    "$eq": _equals,
    "$ne": lambda path, argument: Not(_equals(path, argument)),
    "$in": _is_in,
    "$nin": lambda path, argument: Not(_is_in(path, argument)),
    "$gt": _compares(">"),
    "$gte": _compares(">="),
    "$lt": _compares("<"),
    "$lte": _compares("<="),
    "$exists": _exists,
    "$contains": lambda path, argument: Contains(path, _scalar(path, argument)),
}
OPERATORS = tuple(_LEAVES)


def to_sql(condition: Condition, leaf: Callable[[Leaf], str]) -> str:
    """*condition* as a SQL expression over two-valued *leaf* expressions.

    A leaf must never be NULL: `NOT NULL` is NULL, and a row would be lost on both sides of a `$not`.
    """
    match condition:
        case AllOf(conditions):
            return _join(" AND ", conditions, leaf, empty="(1 = 1)")
        case AnyOf(conditions):
            return _join(" OR ", conditions, leaf, empty="(1 = 0)")
        case Not(inner):
            return f"(NOT {to_sql(inner, leaf)})"
    return leaf(condition)


def _join(word: str, conditions: Sequence[Condition], leaf: Callable[[Leaf], str], empty: str) -> str:
    parts = [to_sql(part, leaf) for part in conditions]
    while len(parts) > _RUN:
        parts = [f"({word.join(parts[at : at + _RUN])})" for at in range(0, len(parts), _RUN)]
    return f"({word.join(parts)})" if parts else empty
