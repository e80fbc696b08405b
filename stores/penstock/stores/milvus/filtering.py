"""Conditions as text of Milvus's: terms in quotes that nothing in them ends, and integers.

Lite takes no values beside the text. A negation goes down to the leaves, since `not` of what lacks holds no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.stores.points.engine import TERMS, VERSION, Number, Term, Wanted
from penstock.stores.points.filtering import NUMBERS
from penstock.stores.points.flat import OPPOSITES, OPS, has_number, ordered

_RUN = 32
"""How many conditions stand in a row: each is a level of the tree that a parser makes."""


def to_text(wanted: Wanted, *, holds: bool = True) -> str:
    """What finds rows for which *wanted* holds, or those for which it does not."""
    match wanted:
        case Term(values):
            some = f"array_contains_any({TERMS}, [{', '.join(map(quoted, values))}])"
            return some if holds else f"not {some}"
        case Number(key, op, value) if key == VERSION:
            return _compares(VERSION, op, int(value), holds=holds)
        case Number(key, op, value):
            there = to_text(Term((has_number(key),)), holds=holds)
            compared = _compares(f"{NUMBERS}[{quoted(key)}]", op, ordered(value), holds=holds)
            return _joined("and" if holds else "or", [there, compared])
    parts = [to_text(each, holds=holds) for each in wanted.must]
    parts += [to_text(each, holds=not holds) for each in wanted.must_not]
    if wanted.should:
        parts.append(_joined("or" if holds else "and", [to_text(each, holds=holds) for each in wanted.should]))
    return _joined("and" if holds else "or", parts)


def quoted(text: str) -> str:
    """*text* as a literal. No filter has control characters, which Lite could not read."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _compares(field: str, op: str, value: int, *, holds: bool) -> str:
    return f"{field} {(OPS if holds else OPPOSITES)[op]} {value}"


def _joined(word: str, parts: Sequence[str]) -> str:
    while len(parts) > _RUN:
        parts = [_joined(word, parts[at : at + _RUN]) for at in range(0, len(parts), _RUN)]
    return f"({f' {word} '.join(parts)})" if len(parts) > 1 else parts[0]
