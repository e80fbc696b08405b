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

# Floats whose shortest text is not their value (2.0**60 is written ...7000), and the integers about them.
_close = [2**60, 2**60 + 1, 2**60 + 24, 2.0**60, 2.0**60 + 256, 2.0**63, -(2.0**63), 5e-324, 1.7976931348623157e308]
_wild_scalars = scalars | st.sampled_from(_close)
_wild_keys = _names | st.sampled_from(["", "a.b", "a.", 'a"', "a'b", "$.a", "A", "0", "é", "[0]", "a\\", "a\n", "🙂"])
_wild_values: st.SearchStrategy[Any] = st.recursive(
    _wild_scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_wild_keys, inner, max_size=3),
    max_leaves=8,
)
wild_objects = st.dictionaries(_wild_keys, _wild_values, max_size=4)
"""With keys that no filter can name, lists of lists and objects, and texts that read like what else is there."""


def _filters(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    numbers = values.filter(lambda value: not isinstance(value, str | bool))
    conditions = st.one_of(
        values,
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$eq", "$ne", "$contains"]), values),
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers),
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=4)),
        st.builds(lambda value: {"$exists": value}, st.booleans()),
        st.builds(lambda low, high: {"$gte": low, "$lt": high}, numbers, numbers),
    )
    return st.recursive(
        st.dictionaries(_paths, conditions, max_size=2),
        lambda inner: st.one_of(
            st.builds(
                lambda op, parts: {op: parts}, st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)
            ),
            st.builds(lambda part: {"$not": part}, inner),
        ),
        max_leaves=4,
    )


filters = _filters(scalars)
"""Filters that `parse` accepts."""

wild_filters = _filters(_wild_scalars)
"""The same over the numbers of `wild_objects`."""
