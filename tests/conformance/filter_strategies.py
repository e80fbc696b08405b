"""Random metadata and random filters over the same few names and values, so that they often meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_names = st.sampled_from(["a", "b", "o", "a-b", "x_1"])
_paths = st.lists(_names, min_size=1, max_size=3).map(".".join)

_edges = [0, 1, -1, 5, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 10**16]
_numbers = (
    st.sampled_from([*_edges, 0.0, -0.0, 1.0, 1.5, -1.5, 5.0, 0.1, 1e-7, 1e16, 1e17, 1e22, -1e300, 2.0**53, 2.0**60])
    | st.integers(-3, 3)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
_texts = (
    st.sampled_from(["", "1", "5", "1.0", "true", "null", "x", "it's", 'q"q', "\\", "/", "é", "🙂", "%", "$.a", "1e22"])
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
)  # fmt: skip
scalars = _numbers | _texts | st.booleans()

# A list with a fraction and its text is a known limit of $contains in Lance, so texts here are no fractions.
_elements = _numbers | st.booleans() | st.none() | st.sampled_from(["x", "5", "true", "it's", 'q"q', "é"])
_values: st.SearchStrategy[Any] = st.recursive(
    scalars | st.none() | st.lists(_elements, max_size=3),
    lambda inner: st.dictionaries(_names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(_names, _values, max_size=4)

_conditions = st.one_of(
    scalars,
    st.builds(lambda op, value: {op: value}, st.sampled_from(["$eq", "$ne", "$contains"]), scalars),
    st.builds(lambda op, value: {op: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), _numbers),
    st.builds(lambda op, value: {op: value}, st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=4)),
    st.builds(lambda value: {"$exists": value}, st.booleans()),
    st.builds(lambda low, high: {"$gte": low, "$lt": high}, _numbers, _numbers),
)
filters: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(_paths, _conditions, max_size=2),
    lambda inner: st.one_of(
        st.builds(
            lambda op, parts: {op: parts}, st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)
        ),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=4,
)
"""Filters that `parse` accepts."""
