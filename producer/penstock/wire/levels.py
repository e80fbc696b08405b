"""How durable a record must be before its producer forgets it."""

from __future__ import annotations

from typing import Literal

Durability = Literal["fast", "fsync", "replicated"]

FAST, FSYNC, REPLICATED = 0, 1, 2
"""Bits, so that a push needs what any of its records does. Plain numbers: they are joined for every record."""

LEVELS: dict[Durability, int] = {"fast": FAST, "fsync": FSYNC, "replicated": REPLICATED}
