"""What the checker found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

_SHOWN = 10


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Each fault in words, by its sort. Sound when there is none."""

    missing: list[str] = field(default_factory=list)
    """Accepted, and in neither a store nor the dead letters."""
    twice: list[str] = field(default_factory=list)
    """Stored more than once, or in two dead letters."""
    stored_and_dead: list[str] = field(default_factory=list)
    """In a store and in the dead letters, without a replay."""
    out_of_order: list[str] = field(default_factory=list)
    """In a session after what its writer handed over later."""
    counters: list[str] = field(default_factory=list)
    """Sessions that count other than they have."""
    texts: list[str] = field(default_factory=list)
    """Stored with another text, or in another session, than was handed over."""
    states: list[str] = field(default_factory=list)
    """Streams and messages that are complete, interrupted or deleted when they should be otherwise."""
    vectors: list[str] = field(default_factory=list)
    """Not the last vector of its key."""
    values: list[str] = field(default_factory=list)
    """Not the last value of its key."""
    strangers: list[str] = field(default_factory=list)
    """Stored or dead, though nobody handed it over."""
    unexpected_dead: list[str] = field(default_factory=list)
    """Dead letters of records that were not poison."""
    unbalanced: list[str] = field(default_factory=list)
    """Partitions whose counters do not add up, or disagree with what lies there."""
    totals: Mapping[str, int] = field(default_factory=dict)
    """How much was looked at."""

    @property
    def faults(self) -> dict[str, list[str]]:
        """The sorts of which something was found."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "totals"}
        return {name: lines for name, lines in found.items() if lines}

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.faults

    def __str__(self) -> str:
        told = ", ".join(f"{name} {count:,}" for name, count in self.totals.items())
        if self.sound:
            return f"sound: nothing lost, nothing twice, nothing out of order ({told})"
        counts = ", ".join(f"{len(lines):,} {name.replace('_', ' ')}" for name, lines in self.faults.items())
        lines = [f"NOT SOUND: {counts} ({told})"]
        for name, found in self.faults.items():
            lines += [f"  {name.replace('_', ' ')}: {line}" for line in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  ... and {len(found) - _SHOWN:,} more {name.replace('_', ' ')}")
        return "\n".join(lines)
