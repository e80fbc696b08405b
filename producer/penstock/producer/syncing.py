"""Waits, beside the sender, until what was pushed is as durable as its records must be."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from penstock.producer.line import Line
from penstock.producer.log import Log
from penstock.producer.overflow import producer_log
from penstock.producer.settings import ProducerSettings
from penstock.producer.trail import Pending
from penstock.wire.backoff import next_delay_s
from penstock.wire.entries import Confirmed
from penstock.wire.errors import PenstockError
from penstock.wire.keys import Partition

GONE_FAILURES = 2
"""So many in a row, and the queue is away. The first may be a connection that has died of age."""

LOOK_AGAIN_S = 0.1
"""A disk that is synced each second is asked so often."""


class Syncer:
    """One task's work. Sending goes on meanwhile; one confirmation stands for all that was sent before it began."""

    def __init__(
        self,
        log: Log,
        lines: Iterable[Line],
        settings: ProducerSettings,
        *,
        settle: Callable[[Line, Pending], None],
        lost: Callable[[Line, int], None],
        rng: random.Random,
        gone: asyncio.Event,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._lines = lines
        self._settings = settings
        self._settle = settle
        self._lost = lost
        self._rng = rng
        self._bell = asyncio.Event()
        self._failures = 0
        self._reason = ""
        self._gone = gone
        self._now_s = now_s
        self.failing_since_s: float | None = None
        """When confirming began to fail, as long as it does."""

    @property
    def reason(self) -> str:
        """Why something that was sent is not confirmed yet; empty when all is."""
        waits = any(line.trail.pending for line in self._lines)
        return self._reason or (
            "the queue server has it, but has not confirmed yet that it is durable" if waits else ""
        )

    def ring(self) -> None:
        """Something was sent that needs more than `fast`."""
        self._bell.set()

    async def run(self) -> None:
        """Confirm until cancelled."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            while sent := {line: line.trail.pending[-1] for line in self._lines if line.trail.pending}:
                try:
                    settled = await self._confirm(sent)
                except Exception as exc:  # noqa: BLE001 - asked again; the records wait
                    self._note(str(exc) if isinstance(exc, PenstockError) else repr(exc))
                    if self._failures >= GONE_FAILURES:
                        self._gone.set()
                    await self._pause()
                else:
                    if not settled:
                        await asyncio.sleep(LOOK_AGAIN_S)

    async def _confirm(self, sent: Mapping[Line, Pending]) -> bool:
        """Ask once for all that was sent up to the last of each line; whether anything was settled."""
        levels = 0
        for line in sent:
            for each in line.trail.pending:
                levels |= each.batch.level
        producers = {line.partition: last.batch.push.producer_id for line, last in sent.items()}
        confirmed = await self._log.confirm(producers, levels)
        self._note(confirmed.missing)
        settled = False
        for line, last in sent.items():
            seen = confirmed.seen[line.partition]
            # What was sent meanwhile may need a level that was not asked for.
            for each in line.trail.confirm(partial(_upto, confirmed, line.partition, min(seen, last.number))):
                self._settle(line, each)
                settled = True
            if seen < last.number:
                self._lost(line, seen)
        return settled

    def _note(self, reason: str) -> None:
        """Say once that records wait, and once that they do not."""
        if reason:
            self._failures += 1
            if self.failing_since_s is None:
                self.failing_since_s = self._now_s()
            if not self._reason:
                producer_log().warning("not durable yet; records wait", reason=reason)
        elif self._reason:
            producer_log().info("durable again", after_failures=self._failures)
            self._failures, self.failing_since_s = 0, None
            self._gone.clear()
        self._reason = reason

    async def _pause(self) -> None:
        base_ms, cap_ms = self._settings.retry_base_ms, self._settings.retry_cap_ms
        await asyncio.sleep(next_delay_s(self._failures, base_ms, cap_ms, self._rng))


def _upto(confirmed: Confirmed, where: Partition, bound: int, level: int) -> int:
    return min(bound, confirmed.upto(where, level))
