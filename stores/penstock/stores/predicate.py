"""What a filter means, in Python: the executor of stores without a query language, and the oracle of the others."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from penstock.stores.filters import AllOf, AnyOf, Compares, Condition, Contains, Equals, Exists, Leaf, Not, Path, Scalar

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def predicate(condition: Condition) -> Callable[[Mapping[str, Any]], bool]:
    """What *condition* means, as a function of a record's metadata."""
    match condition:
        case AllOf(conditions):
            parts = [predicate(part) for part in conditions]
            return lambda metadata: all(part(metadata) for part in parts)
        case AnyOf(conditions):
            parts = [predicate(part) for part in conditions]
            return lambda metadata: any(part(metadata) for part in parts)
        case Not(inner):
            holds = predicate(inner)
            return lambda metadata: not holds(metadata)
    test, path = _test(condition), condition.path
    return lambda metadata: test(_find(metadata, path))


_MISSING = object()


def _find(metadata: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(metadata, Mapping) or name not in metadata:
            return _MISSING
        metadata = metadata[name]
    return metadata


def _test(leaf: Leaf) -> Callable[[Any], bool]:
    match leaf:
        case Equals(_, values):
            return lambda found: any(_same(found, value) for value in values)
        case Contains(_, value):
            return lambda found: isinstance(found, list) and any(_same(item, value) for item in found)
        case Compares(_, op, number):
            compare = _COMPARISONS[op]
            return lambda found: _is_number(found) and compare(found, number)
        case Exists():
            return lambda found: found is not _MISSING


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(found: object, value: Scalar) -> bool:
    if _is_number(value):
        return _is_number(found) and found == value
    return type(found) is type(value) and found == value
