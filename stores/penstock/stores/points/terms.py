"""What a filter can ask of metadata, in words that an engine can look up exactly.

Qdrant's own conditions look into lists, tell no null from what is missing, and compare neither floats with equality nor
integers beyond 2^53. So a point has beside its metadata (as text) its *terms*, one for each thing that an equality,
`$exists` or `$contains` may ask, and its *numbers*, for ranges. One index of terms serves every field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.stores.filters import Path, Scalar

MAX_NAMES = 8
"""How many names a filter's path may have."""

TOMBSTONE = "!deleted"
"""The term of a deletion. No path begins so."""

NEVER = "!never"
"""A term that no point has."""

_LONG = 64
"""Longer text stands in a term as a digest of 16 bytes."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}\Z")


class Described(NamedTuple):
    """Metadata as a filter sees it."""

    terms: list[str]
    numbers: dict[str, Any]
    """Every number that is a field's value, in objects as they lie in the metadata, rounded to float64."""
    residues: dict[str, Any]
    """What rounding took from an integer, where it took anything."""


def describe(metadata: Mapping[str, Any]) -> Described:
    """What filters may ask of *metadata*: fields that no filter can name are left out."""
    described = Described([], {}, {})
    _describe(metadata, (), described)
    return described


def _describe(metadata: Mapping[str, Any], path: Path, into: Described) -> None:
    for name, value in metadata.items():
        if not _NAME.match(name):
            continue
        here = (*path, name)
        into.terms.append(exists(here))
        if isinstance(value, Mapping):
            if len(here) < MAX_NAMES:
                _describe(value, here, into)
        elif isinstance(value, list):
            items = (contains(here, item) for item in value if isinstance(item, str | int | float))
            into.terms.extend(dict.fromkeys(items))
        elif value is not None:
            into.terms.append(equals(here, value))
            if not isinstance(value, str | bool):
                _add_number(here, value, into)


def _add_number(path: Path, value: float, into: Described) -> None:
    rounded = float(value) + 0.0  # never -0.0, which an index puts before 0.0
    _put(into.numbers, path, rounded)
    if isinstance(value, int) and (rest := value - int(rounded)):
        _put(into.residues, path, float(rest))


def _put(tree: dict[str, Any], path: Path, value: float) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def exists(path: Path) -> str:
    """The term of a field that is there."""
    return ".".join(path)


def equals(path: Path, value: Scalar) -> str:
    """The term of a field that equals *value*."""
    return f"{'.'.join(path)}={_word(value)}"


def contains(path: Path, value: Scalar) -> str:
    """The term of a list that has *value*."""
    return f"{'.'.join(path)}[{_word(value)}"


def _word(value: Scalar) -> str:
    """Equal for equal values only: 1 and 1.0 are one word, `True` and `"1"` others."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}' if len(value) <= _LONG else "#" + hashlib.blake2b(value.encode(), digest_size=16).hexdigest()
    return str(int(value)) if value % 1 == 0 else repr(value)
