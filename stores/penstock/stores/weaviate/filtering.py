"""Conditions over terms and numbers as Weaviate's filters: messages, with no text that a value could break out of.

`Not` is everything but what is inside, a missing property too: two-valued, as ours is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from weaviate.classes.query import Filter
from weaviate.collections.classes.filters import FilterReturn

from penstock.stores.points.engine import TERMS, VERSION, Group, Number, Term, Wanted
from penstock.stores.points.terms import NEVER
from penstock.stores.weaviate.naming import property_of, word_of

Where: TypeAlias = FilterReturn

_NOTHING = Term((NEVER,))

_COMPARISONS: dict[str, Callable[[Any, float], Where]] = {
    ">": lambda field, value: field.greater_than(value),
    ">=": lambda field, value: field.greater_or_equal(value),
    "<": lambda field, value: field.less_than(value),
    "<=": lambda field, value: field.less_or_equal(value),
    "=": lambda field, value: field.equal(value),
}


def numbers_in(wanted: Wanted | None) -> set[str]:
    """The properties of numbers that *wanted* looks at, which Weaviate may not have."""
    match wanted:
        case Number(key, _, _):
            return {property_of(key)} - {VERSION}
        case Group(must, should, must_not):
            return {name for part in (*must, *should, *must_not) for name in numbers_in(part)}
    return set()


def to_filter(wanted: Wanted, known: Collection[str]) -> Where:
    """*wanted* as a filter of Weaviate, where the collection has the properties *known* beside `version`.

    A number that no object has yet has no property, and Weaviate refuses to compare it.
    """
    match wanted:
        case Term(values):
            return Filter.by_property(TERMS).contains_any([word_of(each) for each in values])
        case Number(key, op, value):
            name = property_of(key)
            if name != VERSION and name not in known:
                return to_filter(_NOTHING, known)
            return _COMPARISONS[op](Filter.by_property(name), float(value))
        case Group(must, should, must_not):
            parts = [to_filter(each, known) for each in must]
            if should:
                parts.append(Filter.any_of([to_filter(each, known) for each in should]))
            parts += [Filter.not_(to_filter(each, known)) for each in must_not]
            return Filter.all_of(parts) if parts else Filter.not_(to_filter(_NOTHING, known))
