"""The gate of a lane: shut while its store is away, so that nobody tries what cannot be written."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable

from penstock.wire.backoff import next_delay_s
from penstock.wire.keys import Partition

_BASE_MS = 100
"""Wait before the first probe: most of what a store does wrong is over by then."""

_RELAPSE_MS = 5_000
"""Shut again so soon, the gate goes on with its pauses: a disk that is full takes a small batch, and not the next."""


class Gate:
    """One lane's gate at one worker: a store may be away for this one and there for the next.

    Drains shut it, and the lane's `Gatekeeper` opens it.
    """

    def __init__(self, lane: str, cap_ms: int, rng: random.Random, now_ms: Callable[[], int]) -> None:
        self.lane = lane
        self.is_shut = asyncio.Event()
        self.since_ms = 0
        """When it was shut."""
        self.probes = 0
        """How many have failed since."""
        self.relapses = 0
        """How often in a row it was shut soon after it had been opened."""
        self.reason = ""
        self._cap_ms = cap_ms
        self._rng = rng
        self._now_ms = now_ms
        self._opened_ms: int | None = None
        self._closer: Partition | None = None
        self._missed: Counter[Partition] = Counter()
        self._suspects: set[Partition] = set()

    def shut(self, partition: Partition, reason: str) -> bool:
        """The store did not take a batch of *partition*. Returns whether the gate was open."""
        self.reason = reason
        if self.is_shut.is_set():
            return False
        self.since_ms = self._now_ms()
        if self._opened_ms is not None and self.since_ms - self._opened_ms < _RELAPSE_MS:
            self.relapses += 1
            self.probes += 1
        else:
            self.relapses = self.probes = 0
        self._closer = partition
        self._missed.clear()
        self.is_shut.set()
        return True

    def is_alone(self, partition: Partition) -> bool:
        """Whether the store fails *partition*, and took since then what another one held: then it is not away."""
        return partition in self._suspects

    def wrote(self, partition: Partition) -> None:
        """The store took a batch of *partition*."""
        self._suspects.discard(partition)

    def failed(self, reason: str) -> None:
        """A probe found the store away."""
        self.reason = reason
        self.probes += 1

    def missed(self, partition: Partition, reason: str) -> None:
        """A canary of *partition* was not written."""
        self.failed(reason)
        self._missed[partition] += 1

    def canary_of(self, waiting: Iterable[Partition]) -> Partition | None:
        """Whose batch to try: that of whoever shut the gate, then the others' in turn: the fault may be its own."""

        def hope(each: Partition) -> tuple[bool, int, bool, Partition]:
            return each in self._suspects, self._missed[each], each != self._closer, each

        return min(waiting, key=hope, default=None)

    def open(self, written: Partition | None = None) -> int:
        """Let drains through. *written*: whose canary was written. Returns for how many milliseconds it was shut."""
        if written is not None:
            self._suspects |= {*self._missed, *filter(None, [self._closer])} - {written}
            self._suspects.discard(written)
        self._opened_ms = self._now_ms()
        self.is_shut.clear()
        return self.lasted_ms

    @property
    def lasted_ms(self) -> int:
        """How long ago it was shut."""
        return max(0, self._now_ms() - self.since_ms)

    def next_delay_s(self) -> float:
        """How long to wait before the next probe."""
        return next_delay_s(self.probes + 1, min(_BASE_MS, self._cap_ms), self._cap_ms, self._rng)
