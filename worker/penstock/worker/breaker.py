"""The breaker of a lane: it trips where so much is refused that the fault lies elsewhere than in the records."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from penstock.wire.errors import PenstockError


class Tripped(PenstockError):
    """Too much was refused. Of the batch that is under way nothing may be buried: it stays in the log."""

    def __init__(self, refused: int, seen: int, reason: str) -> None:
        count = f"{refused:,} records in a row" if refused == seen else f"{refused:,} of {seen:,} records"
        super().__init__(f"{count} were refused, the first: {reason}")
        self.refused = refused
        self.seen = seen
        self.reason = reason


@dataclass(slots=True)
class _Stretch:
    """Records one after the other with the same outcome."""

    count: int
    reason: str | None
    """Why the first of them was refused; None where they were stored."""


class Breaker:
    """What became of the last records of one lane, at one worker."""

    def __init__(self, run: int, ratio: float, window: int) -> None:
        """Trip after *run* refusals in a row, or more than *ratio* of the last *window* records. 0 switches off."""
        self.spared = 0
        """So many refusals do not count."""
        self._run = run
        self._ratio = ratio
        self._window = window
        self._stretches: deque[_Stretch] = deque()
        self._seen = self._refused = 0
        self._tripped: Tripped | None = None

    def stored(self, count: int) -> None:
        """So many records were stored, or left out by a strategy. With 0 those around it are no run."""
        last = self._stretches[-1] if self._stretches else None
        if last and last.reason is None:
            last.count += count
        else:
            self._stretches.append(_Stretch(count, None))
        self._seen += count
        self._forget()

    def refused(self, reason: str) -> None:
        """A record was refused.

        Raises:
            Tripped: It was one too many, and so is any further one until `reset`: drains of other partitions have
                batches under way, too.
        """
        if self._tripped:
            raise Tripped(self._tripped.refused, self._tripped.seen, self._tripped.reason)
        if self.spared:
            self.spared -= 1
            return
        last = self._stretches[-1] if self._stretches else None
        if last and last.reason is not None:
            last.count += 1
        else:
            last = _Stretch(1, reason)
            self._stretches.append(last)
        self._seen += 1
        self._refused += 1
        self._forget()
        self._judge(last)

    def reset(self) -> None:
        """Forget what was counted, and that it was too much."""
        self._tripped = None
        self._stretches.clear()
        self._seen = self._refused = 0

    def _judge(self, last: _Stretch) -> None:
        if self._run and last.count >= self._run:
            self._tripped = Tripped(last.count, last.count, last.reason or "")
        elif self._ratio and self._seen >= self._window and self._refused > self._ratio * self._seen:
            first = next(each.reason for each in self._stretches if each.reason is not None and each.count)
            self._tripped = Tripped(self._refused, self._seen, first)
        if self._tripped:
            raise self._tripped

    def _forget(self) -> None:
        """Keep no more than the window, or the run where that is longer."""
        over = self._seen - max(self._window, self._run)
        while over > 0:
            oldest = self._stretches[0]
            gone = min(over, oldest.count)
            oldest.count -= gone
            over -= gone
            self._seen -= gone
            self._refused -= gone if oldest.reason is not None else 0
            if not oldest.count:
                self._stretches.popleft()
