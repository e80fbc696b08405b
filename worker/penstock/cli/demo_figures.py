"""What the demo measures: the time from the call to the store, of a sample."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.cli.exits import Code, Stop
from penstock.wire.errors import PenstockError

if TYPE_CHECKING:
    from penstock.producer import Receipt

_EVERY = 5
_PATIENCE_S = 60.0


class Stopwatch:
    """Takes the time of one record in `_EVERY`, of each lane."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.times_s: defaultdict[str, list[float]] = defaultdict(list)
        self._tasks = tasks
        self._calls: defaultdict[str, int] = defaultdict(int)

    def measure(self, lane: str, receipt: Receipt) -> None:
        """Note that a call of *lane* has just returned *receipt*."""
        self._calls[lane] += 1
        if self._calls[lane] % _EVERY == 1:
            self._tasks.create_task(self._wait(lane, receipt, asyncio.get_running_loop().time()))

    async def _wait(self, lane: str, receipt: Receipt, called_at: float) -> None:
        try:
            await receipt.stored(timeout=_PATIENCE_S)
        except PenstockError as exc:
            raise Stop(f"a record of the demo was not stored: {exc}", Code.NO) from exc
        self.times_s[lane].append(asyncio.get_running_loop().time() - called_at)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def every_time(times_s: Mapping[str, Sequence[float]]) -> list[float]:
    """The times of all lanes."""
    return [time for times in times_s.values() for time in times]
