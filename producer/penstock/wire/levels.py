"""How durable a record must be before its producer forgets it."""

from __future__ import annotations

from typing import Literal

from penstock.wire.settings import InvalidSetting

Durability = Literal["fast", "fsync", "replicated"]

FAST, FSYNC, REPLICATED = 0, 1, 2
"""Bits, so that a push needs what any of its records does. Plain numbers: they are joined for every record."""

BITS = (FSYNC, REPLICATED)

LEVELS: dict[Durability, int] = {"fast": FAST, "fsync": FSYNC, "replicated": REPLICATED}


def level_of(durability: Durability) -> int:
    """The bit of a level. Raises `InvalidSetting` for a word that is none."""
    if durability not in LEVELS:
        raise InvalidSetting(f"durability is {durability!r}; one of {', '.join(LEVELS)} is needed")
    return LEVELS[durability]
