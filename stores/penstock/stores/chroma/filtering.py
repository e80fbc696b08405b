"""Conditions in Chroma's language: one operator an object, no `$not`, no `$exists`, and nothing is found by what lacks.

So a negation goes down to the leaves, where each has its opposite. Numbers are compared as integers: Chroma compares
floats with floats and integers with integers only (chroma#7491).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.stores.points.engine import TERMS, VERSION, Number, Term, Wanted
from penstock.stores.points.flat import OPPOSITES, OPS, has_number, ordered

_WORDS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte", "==": "$eq", "!=": "$ne"}

_RUN = 32
"""How many conditions stand in a row: each is a level of the tree in SQLite, which takes 1,000."""


def to_where(wanted: Wanted, *, holds: bool = True) -> dict[str, Any]:
    """What finds rows for which *wanted* holds, or those for which it does not."""
    match wanted:
        case Term(values):
            op = "$contains" if holds else "$not_contains"
            return _joined("$or" if holds else "$and", [{TERMS: {op: each}} for each in values])
        case Number(key, op, value) if key == VERSION:
            return _compares(key, op, int(value), holds=holds)
        case Number(key, op, value):
            there = to_where(Term((has_number(key),)), holds=holds)
            return _joined("$and" if holds else "$or", [there, _compares(key, op, ordered(value), holds=holds)])
    parts = [to_where(each, holds=holds) for each in wanted.must]
    parts += [to_where(each, holds=not holds) for each in wanted.must_not]
    if wanted.should:
        some = [to_where(each, holds=holds) for each in wanted.should]
        parts.append(_joined("$or" if holds else "$and", some))
    return _joined("$and" if holds else "$or", parts)


def _compares(key: str, op: str, value: int, *, holds: bool) -> dict[str, Any]:
    return {key: {_WORDS[(OPS if holds else OPPOSITES)[op]]: value}}


def _joined(op: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    while len(parts) > _RUN:
        parts = [_joined(op, parts[at : at + _RUN]) for at in range(0, len(parts), _RUN)]
    return parts[0] if len(parts) == 1 else {op: list(parts)}
