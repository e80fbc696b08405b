"""What an axis finds: rows of a table and points of curves. What fails later loses none of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

FLAT = 0.05
"""Of a slope: over three decades the figure then changes by less than half."""


class Extent(NamedTuple):
    """How much is measured."""

    full: bool = False
    """With what takes long: ten million rows."""
    runs: int = 1
    """Of each point; the median counts."""
    scale: float = 1.0
    """Of the records of each run. Below 1 to try the program out, not to measure."""

    def of(self, records: int) -> int:
        """So many records in this run."""
        return max(1_000, round(records * self.scale))


Curve = list[tuple[float, float]]


@dataclass(slots=True)
class Panel:
    """One diagram: a figure against what grows, with a curve for each of what is compared."""

    figure: str
    curves: dict[str, Curve] = field(default_factory=dict)


@dataclass(slots=True)
class Findings:
    """What was found so far."""

    head: Sequence[str] = ()
    rows: list[Sequence[str]] = field(default_factory=list)
    panels: dict[str, Panel] = field(default_factory=dict)

    def row(self, *cells: object) -> None:
        """Add a row to the table."""
        self.rows.append([str(cell) for cell in cells])

    def point(self, figure: str, curve: str, x: float, y: float) -> None:
        """Add a point to a curve of the diagram of *figure*."""
        self.panels.setdefault(figure, Panel(figure)).curves.setdefault(curve, []).append((x, y))


class Axis(NamedTuple):
    """One thing that can become more."""

    title: str
    grows: str
    """What the x of its diagrams counts."""
    note: str
    measure: Callable[[Extent, Findings], None]
    """Finds as much as can be found, before it raises."""


def slope(curve: Curve) -> float | None:
    """The exponent b of y = a * x^b that fits best, by least squares of the logarithms. None of fewer than two x."""
    points = [(math.log(x), math.log(y)) for x, y in curve if x > 0 and y > 0]
    if len({x for x, _ in points}) < 2:
        return None
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread


def in_words(value: float) -> str:
    """A slope as a legend says it."""
    text = f"slope {value:.2f}".replace("-0.00", "0.00")
    return f"{text} = flat" if abs(value) <= FLAT else text
