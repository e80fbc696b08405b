"""Filters as conditions over a point's terms and numbers. Values go as data, never as text of a query."""

from __future__ import annotations

import operator

from penstock.stores.filters import AllOf, AnyOf, Compares, Condition, Contains, Equals, Exists, Leaf, Not, Path
from penstock.stores.points import terms
from penstock.stores.points.engine import Group, Number, Term, Wanted

NUMBERS = "numbers"
RESIDUES = "residues"

_EXACT = 2**53
"""Below it float64 holds every integer, so that rounding leaves nothing over."""

_COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


def to_wanted(condition: Condition) -> Wanted | None:
    """*condition* in what an engine is asked for; None when it holds for every point."""
    match condition:
        case AllOf(()):
            return None
    return _compiled(condition)


def _compiled(condition: Condition) -> Wanted:
    match condition:
        case AllOf(()):
            return Group(must_not=(_holds(),))
        case AllOf(parts):
            return Group(must=tuple(map(_compiled, parts)))
        case AnyOf(parts):
            return Group(should=tuple(map(_compiled, parts)))
        case Not(inner):
            return Group(must_not=(_compiled(inner),))
    return _leaf(condition)


def _leaf(leaf: Leaf) -> Wanted:
    match leaf:
        case Exists(path):
            return _holds(terms.exists(path))
        case Contains(path, value):
            return _holds(terms.contains(path, value))
        case Equals(path, values):
            return _holds(*(terms.equals(path, value) for value in values))
        case Compares(path, op, number):
            return _compares(path, op, number)


def _holds(*words: str) -> Wanted:
    return Term(words or (terms.NEVER,))


def _compares(path: Path, op: str, number: float) -> Wanted:
    """A comparison of numbers, exact for every integer and float: by what float64 holds, then by what it left over."""
    where = ".".join(path)
    near = float(number) + 0.0
    if abs(near) < _EXACT:
        return Number(f"{NUMBERS}.{where}", op, near)
    rest = number - int(near) if isinstance(number, int) else 0
    strictly = op[0]
    equal = Number(f"{NUMBERS}.{where}", "=", near)
    return Group(
        should=(Number(f"{NUMBERS}.{where}", strictly, near), Group(must=(equal, _rest(where, op, float(rest)))))
    )


def _rest(where: str, op: str, rest: float) -> Wanted:
    """`residue <op> rest`, where a point without a residue has 0."""
    key = f"{RESIDUES}.{where}"
    holds_without_one = _COMPARISONS[op](0, rest)
    return Group(must_not=(Number(key, _OPPOSITE[op], rest),)) if holds_without_one else Number(key, op, rest)
