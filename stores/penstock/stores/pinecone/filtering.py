"""Conditions over terms and numbers as Pinecone's filters: data, with no text that a value could break out of.

What a missing field means to `$ne` and `$nin` is not documented. So only `terms`, which every record has, is asked so;
of a number that may be missing `$exists` asks first. There is no `$not` in a filter of ours either: it goes inwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from penstock.stores.points.engine import TERMS, Group, Number, Term, Wanted
from penstock.stores.points.terms import NEVER

Filter: TypeAlias = dict[str, Any]

_OPERATORS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte", "=": "$eq"}
_OPPOSITES = {">": "$lte", ">=": "$lt", "<": "$gte", "<=": "$gt", "=": "$ne"}


def to_filter(wanted: Wanted) -> Filter:
    """*wanted* as a filter of Pinecone."""
    match wanted:
        case Term(values):
            return {TERMS: {"$in": list(values)}}
        case Number(key, op, value):
            return {key: {_OPERATORS[op]: value}}
        case Group(must, should, must_not):
            some = [_any(map(to_filter, should))] if should else []
            return _all([*map(to_filter, must), *some, *map(_opposite, must_not)])


def _opposite(wanted: Wanted) -> Filter:
    """What holds exactly where *wanted* does not."""
    match wanted:
        case Term(values):
            return {TERMS: {"$nin": list(values)}}
        case Number(key, op, value):
            return _any([{key: {"$exists": False}}, {key: {_OPPOSITES[op]: value}}])
        case Group(must, should, must_not):
            none = [_all(map(_opposite, should))] if should else []
            return _any([*map(_opposite, must), *none, *map(to_filter, must_not)])


def _all(parts: Iterable[Filter]) -> Filter:
    found = list(parts)
    return found[0] if len(found) == 1 else {"$and": found or [{TERMS: {"$nin": [NEVER]}}]}


def _any(parts: Iterable[Filter]) -> Filter:
    found = list(parts)
    return found[0] if len(found) == 1 else {"$or": found or [{TERMS: {"$in": [NEVER]}}]}
