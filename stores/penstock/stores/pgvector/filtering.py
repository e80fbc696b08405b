"""Filters as PostgreSQL's SQL over a column of type json, with what an index can answer put before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import orjson

from penstock.stores.filters import AllOf, AnyOf, Condition, Contains, Equals, Path, Scalar
from penstock.stores.pgvector.names import Names
from penstock.stores.postgres import filtering

_EXACT = 2**53
"""From there on two numbers may be equal that are written differently, as 2.0**60 is."""

_MAX_VALUES = 32
"""Of one condition. Each is a look at the index, and so many of them are nothing rare any more."""

_Bind: TypeAlias = Callable[[Any], str]


def compiled(condition: Condition, names: Names) -> tuple[str, dict[str, Any]]:
    """The SQL of *condition* on the metadata of `e`, and the values of its places. Every value is bound, paths too.

    What the metadata must contain goes first: less strict than the rest, but an index has it.
    """
    sql, values = filtering.compiled(condition, "e.metadata")
    documents: list[str] = []

    def bind(document: Any) -> str:
        documents.append(orjson.dumps(document).decode())
        return names.sql("may_contain", value=f":contained_{len(documents) - 1}")

    if (needed := _needed(condition, bind)) is not None:
        sql = f"{needed} AND {sql}"
    return sql, {**values, **{f"contained_{at}": document for at, document in enumerate(documents)}}


def _needed(condition: Condition, bind: _Bind) -> str | None:
    """SQL that holds wherever *condition* does; None where no index could answer any."""
    match condition:
        case AllOf(conditions):
            return _joined(" AND ", [part for each in conditions if (part := _needed(each, bind)) is not None])
        case AnyOf(conditions) if _is_indexable(condition):
            return _joined(" OR ", [part for each in conditions if (part := _needed(each, bind)) is not None])
        case Equals(path, values) if _is_indexable(condition):
            return _joined(" OR ", [bind(_document(path, value)) for value in values])
        case Contains(path, value) if _is_indexable(condition):
            return bind(_document(path, [value]))
    return None


def _is_indexable(condition: Condition) -> bool:
    """Whether an index finds all that *condition* holds for. One part of an OR that it does not spoils all of it."""
    match condition:
        case AllOf(conditions):
            return any(map(_is_indexable, conditions))
        case AnyOf(conditions):
            return 0 < len(conditions) <= _MAX_VALUES and all(map(_is_indexable, conditions))
        case Equals(_, values):
            return 0 < len(values) <= _MAX_VALUES and all(map(_is_written_once, values))
        case Contains(_, value):
            return _is_written_once(value)
    return False


def _is_written_once(value: Scalar) -> bool:
    return isinstance(value, str | bool) or abs(value) < _EXACT


def _document(path: Path, value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _joined(word: str, parts: Sequence[str]) -> str | None:
    return f"({word.join(parts)})" if parts else None
