"""How far a long command is: bars on a terminal, nothing elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from penstock.cli.display import complain, console


class Bars:
    """A bar for each thing that is counted. Gone when the block ends."""

    def __init__(self) -> None:
        shown = console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=shown, disable=not shown.is_terminal, transient=True)
        self._bars: dict[str, TaskID] = {}

    def tell(self, name: str, done: int, total: int | None = None) -> None:
        """*done* of *total* are through; without a total the bar only moves."""
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._bars[name], completed=done)

    def complain(self, line: str) -> None:
        """One line that says what is wrong, above the bars."""
        complain(line, self._progress.console)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
