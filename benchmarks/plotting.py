"""Curves as SVG: the same file from the same figures, readable on white and on dark pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from benchmarks.growth.findings import Panel, in_words, slope

_GREY = "#7d8590"
_COLOURS = ("#3b82f6", "#e8710a", "#16a34a", "#a855f7")
_MARKERS = ("o", "s", "^", "D")
_STYLE = {
    "svg.hashsalt": "penstock",  # ids within the file: by chance without it
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "font.size": 9,
    "text.color": _GREY,
    "axes.labelcolor": _GREY,
    "axes.edgecolor": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "grid.color": _GREY,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_INCHES = (3.9, 3.3)
_WIDE = 8
"""A figure whose largest value is so many times its smallest is drawn on a log scale, else from 0."""


def draw(path: Path, grows: str, panels: list[Panel]) -> None:
    """Write the diagrams of *panels* beside one another; *grows* names their common x."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_INCHES[0] * len(panels), _INCHES[1]), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _fill(axes, grows, panel)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})


def _fill(axes: Any, grows: str, panel: Panel) -> None:
    for (name, curve), colour, marker in zip(panel.curves.items(), _COLOURS, _MARKERS, strict=False):
        found = slope(curve)
        label = name if found is None else f"{name}: {in_words(found)}"
        axes.plot(*zip(*sorted(curve), strict=True), color=colour, marker=marker, markersize=4, label=label)
    xs = sorted({x for curve in panel.curves.values() for x, _ in curve})
    values = [y for curve in panel.curves.values() for _, y in curve]
    axes.set_xscale("log")
    axes.set_xticks(xs)
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    if max(values) > _WIDE * min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 100 * min(values) else (1,)))
    else:
        axes.set_ylim(0, max(values) * 1.15 or 1)
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.minorticks_off()
    axes.grid(visible=True)
    axes.set_xlabel(grows)
    axes.set_title(panel.figure, fontsize=9)
    # Below the diagram: within it, it would lie on a curve sooner or later.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)


def _short(value: float, _: object) -> str:
    """A number as an axis has room for it: 20k, 1.5M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
