"""What the demo shows while it runs: a live display on a terminal, a line every two seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.box import ROUNDED
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from penstock.cli.demo_agents import Transcript
from penstock.cli.display import plain
from penstock.cli.ledger import Status

_LINE_EVERY_S = 2.0
_ROLE_STYLES = {"user": "cyan", "assistant": "green", "tool": "magenta"}
_COUNTERS = ("accepted", "stored", "pending", "dead")


class Rate:
    """How many records a second, over the last moments."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self.per_s = 0.0

    def note(self, at: float, total: int) -> None:
        """*total* records were there at second *at*."""
        if self._last is not None and at > self._last[0]:
            now = (total - self._last[1]) / (at - self._last[0])
            self.per_s = now if not self.per_s else 0.7 * self.per_s + 0.3 * now
        self._last = (at, total)


class Screen:
    """The display of a run. `update` redraws it, or not yet."""

    def __init__(self, console: Console, transcript: Transcript, seconds: float) -> None:
        self._console = console
        self._transcript = transcript
        self._seconds = seconds
        self._started = time.monotonic()
        self._lined_at = 0.0
        self._rate = Rate()
        moves = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True) if moves else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, seen: Status) -> None:
        """Show *seen*."""
        elapsed = time.monotonic() - self._started
        self._rate.note(elapsed, seen.total("accepted"))
        if self._live:
            self._live.update(self._picture(seen, elapsed), refresh=True)
        elif elapsed - self._lined_at >= _LINE_EVERY_S:
            self._lined_at = elapsed
            self._console.print(_line(seen, elapsed, self._rate.per_s))

    def _picture(self, seen: Status, elapsed: float) -> Group:
        lanes = Table(box=ROUNDED, expand=True)
        lanes.add_column("lane")
        for name in _COUNTERS:
            lanes.add_column(name, justify="right")
        for lane, counts in seen.lanes.items():
            lanes.add_row(lane, *(f"{getattr(counts, name):,}" for name in _COUNTERS))
        left = max(0.0, self._seconds - elapsed)
        head = f"{elapsed:4.1f} s   {self._rate.per_s:,.0f} records/s"
        foot = f"{left:.0f} s to go" if left else "waiting until everything is stored"
        return Group(Text(f"{head}   {foot}", "bold"), lanes, self._conversation())

    def _conversation(self) -> Panel:
        lines = Table.grid(padding=(0, 2))
        lines.add_column(justify="right")
        lines.add_column()
        for role, said in self._transcript.lines:
            lines.add_row(Text(role, _ROLE_STYLES.get(role, "")), Text(plain(said)))
        return Panel(lines, title="one of the conversations", title_align="left", box=ROUNDED, height=14)


def _line(seen: Status, elapsed: float, per_s: float) -> str:
    counters = "  ".join(f"{seen.total(name):,} {name}" for name in _COUNTERS)
    return f"{elapsed:5.1f} s  {counters}  {per_s:,.0f} records/s"
