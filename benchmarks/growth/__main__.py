"""How Penstock grows: a table and a diagram of each thing that can become more, slopes named.

python -m benchmarks.growth [AXIS ...] [--full] [--runs N]
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from pathlib import Path

from benchmarks.growth import backlog, producers, record_sizes, rows, sessions, workers
from benchmarks.growth.findings import Axis, Extent, Findings, in_words, slope
from benchmarks.measuring import table
from benchmarks.plotting import draw

RUNS, RUNS_OF_FULL = 1, 3
PLOTS = Path(__file__).parents[1] / "plots"


AXES = {
    "sizes": record_sizes.AXIS,
    "sessions": sessions.AXIS,
    "workers": workers.AXIS,
    "rows": rows.AXIS,
    "backlog": backlog.AXIS,
    "producers": producers.AXIS,
}


def main() -> None:
    """Print what each axis finds, as Markdown; one that fails costs no other, and the exit code says so."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("axis", nargs="*", help=f"of {', '.join(AXES)}; all of them without one")
    arguments.add_argument("--full", action="store_true", help="with what takes long: a store of ten million rows")
    arguments.add_argument("--runs", type=int, help=f"of each point; {RUNS}, with --full {RUNS_OF_FULL}")
    arguments.add_argument("--scale", type=float, default=1.0, help="of the records of each run, to try it out")
    arguments.add_argument("--plots", type=Path, default=PLOTS, help="the folder for the diagrams")
    given = arguments.parse_args()
    for name in given.axis:
        if name not in AXES:
            arguments.error(f"no axis is called {name!r}; known are {', '.join(AXES)}")
    # Whatever ends it, servers are stopped and folders removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    extent = Extent(given.full, given.runs or (RUNS_OF_FULL if given.full else RUNS), given.scale)
    try:
        whole = [_measured(name, extent, given.plots) for name in given.axis or AXES]
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    sys.exit(0 if all(whole) else 1)


def _measured(name: str, extent: Extent, plots: Path) -> bool:
    """Print one axis, as far as it came. Returns whether it came to its end."""
    axis, found = AXES[name], Findings()
    began = time.monotonic()
    print(f"growth: {name} ...", end=" ", file=sys.stderr, flush=True)
    why = "interrupted"
    try:
        axis.measure(extent, found)
        why = ""
    except Exception as exc:  # noqa: BLE001 - the others are measured all the same
        traceback.print_exc()
        why = f"{type(exc).__name__}: {exc}"
    finally:
        _show(name, axis, found, plots)
        print(f"**Not finished: {why}**\n" if why else "", flush=True)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return not why


def _show(name: str, axis: Axis, found: Findings, plots: Path) -> None:
    print(f"### {axis.title}\n\n{axis.note}\n")
    table(found.head, found.rows)
    panels = list(found.panels.values())
    if not panels:
        return
    draw(plots / f"growth-{name}.svg", axis.grows, panels)
    print(f"![{axis.title}](plots/growth-{name}.svg)\n")
    for panel in panels:
        slopes = [(curve, slope(points)) for curve, points in panel.curves.items()]
        told = [f"{curve} {in_words(value)}" for curve, value in slopes if value is not None]
        if told:
            print(f"- {panel.figure}: {', '.join(told)}")


if __name__ == "__main__":
    main()
