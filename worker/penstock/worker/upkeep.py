"""Upkeep: what the stores and the dead letters are rid of by the settings, a slice at a time, beside the drains.

One worker of the fleet at a time does it. That is for the others' sake alone: every slice may be repeated, and run
beside another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import structlog

from penstock.dlq.retention import expire
from penstock.stores.contract import SqlStore
from penstock.stores.errors import StoreError
from penstock.stores.upkeep import Excess, Kind
from penstock.wire.errors import QueueFull, QueueUnavailable
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Site
from penstock.worker.tending import tend_all

SLICE = 1_000
"""Records of one transaction. A batch that waits for it waits 20 to 50 ms, as measured with 1,000 messages."""

_DAY_US = 86_400_000_000
_FLOOR_US = 3_600_000_000
"""What is younger than an hour never goes because of a file's size."""

_REST_BESIDE_DRAINS = 10.0
_REST = 1.0
"""After a slice upkeep rests for so many times as long as it took. Beside drains at full speed that is the time of the
batches too that it waited for. Other workers may drain while this one does not."""

_SHARE = 0.8
"""The part of a period that a run may take, and that nobody else begins one in."""

_EXCESS: tuple[Excess, ...] = ("logs", "messages")

_log = structlog.get_logger("penstock.worker")

Pause = Callable[[float], Awaitable[bool]]
"""Called after each slice with the seconds that it took. Returns whether to go on."""


@dataclass(frozen=True, slots=True)
class Chore:
    """One thing to do, in slices."""

    name: str
    kind: str
    """Of records."""
    what: str
    """Which of them, for people."""
    count: Callable[[], Awaitable[int]]
    """How many there are to do. Changes nothing."""
    slice_: Callable[[], Awaitable[int]]
    """Do some. Returns how many; 0 when there are none left."""


class Done(NamedTuple):
    """What came of a chore, or would come of it."""

    chore: Chore
    records: int


def due(config: WorkerConfig, now_us: int) -> dict[Kind, tuple[int, str]]:
    """What goes by now: before when, and in words. Tombstones first, so that a run leaves those that it makes."""
    found: dict[Kind, tuple[int, str]] = {
        "tombstones": (now_us - config.tombstone_days * _DAY_US, f"older than {_days(config.tombstone_days)}"),
        "contexts": (now_us, "expired"),
        "key_values": (now_us, "expired"),
    }
    if config.retain_tasks_days:
        days = config.retain_tasks_days
        found["tasks"] = now_us - days * _DAY_US, f"finished, unchanged for {_days(days)}"
    if config.retain_logs_days:
        found["logs"] = now_us - config.retain_logs_days * _DAY_US, f"older than {_days(config.retain_logs_days)}"
    if config.retain_messages_days:
        days = config.retain_messages_days
        found["messages"] = now_us - days * _DAY_US, f"older than {_days(days)}"
    return found


def chores(store: SqlStore, config: WorkerConfig, now_us: int) -> list[Chore]:
    """What there is to do, in order. Another chore is another line here."""
    found = due(config, now_us)
    bounds = {kind: before_us for kind, (before_us, _) in found.items()}
    return [
        *(_of_age(store, kind, before_us, what, now_us) for kind, (before_us, what) in found.items()),
        *(_of_size(store, kind, bounds, now_us) for kind in _EXCESS),
    ]


def _of_age(store: SqlStore, kind: Kind, before_us: int, what: str, now_us: int) -> Chore:
    count, remove = partial(store.count_due, kind, before_us), partial(store.remove_due, kind, before_us)
    return Chore(kind, kind, what, count, partial(remove, now_us, SLICE))


def _of_size(store: SqlStore, kind: Excess, bounds: dict[Kind, int], now_us: int) -> Chore:
    floor_us = now_us - _FLOOR_US
    return Chore(
        f"{kind}_beyond_size",
        kind,
        "the oldest, while the file is above keep_size_mb",
        partial(store.count_excess, kind, bounds, now_us, floor_us, SLICE),
        partial(store.remove_excess, kind, floor_us, SLICE),
    )


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


async def rehearse(store: SqlStore, config: WorkerConfig, now_us: int) -> list[Done]:
    """What a run would do now, exactly. Changes nothing."""
    return [Done(chore, await chore.count()) for chore in chores(store, config, now_us)]


async def go_on(_: float) -> bool:
    """The pause of one who does not."""
    return True


class Run:
    """One run. What it has done so far is told while it runs, and after it was broken off."""

    def __init__(self, store: SqlStore, config: WorkerConfig, now_us: int) -> None:
        self.done: list[Done] = []
        self.tidied: dict[str, int] = {}
        self.is_complete = False
        """Whether nothing was left to do."""
        self._store = store
        self._chores = chores(store, config, now_us)
        self._now_us = now_us

    async def perform(self, pause: Pause = go_on) -> None:
        """Do all chores, or as many as *pause* allows. One that fails holds up no other, while the store answers.

        Raises:
            StoreError: Why the first of them failed. The slices before it are done, and so is all else that could be.
        """
        failures: list[StoreError] = []
        finished = await self._finish_all(pause, failures)
        self.tidied.update(await self._store.tidy(self._now_us))
        if failures:
            raise failures[0]
        self.is_complete = finished

    async def _finish_all(self, pause: Pause, failures: list[StoreError]) -> bool:
        for chore in self._chores:
            try:
                if not await self._finish(chore, pause):
                    return False
            except StoreError as exc:
                await self._store.check()
                failures.append(exc)
        return True

    async def _finish(self, chore: Chore, pause: Pause) -> bool:
        self.done.append(Done(chore, 0))
        while True:
            began = time.monotonic()
            records = await chore.slice_()
            self.done[-1] = Done(chore, self.done[-1].records + records)
            if not records:
                return True
            if not await pause(time.monotonic() - began):
                return False

    def counted(self) -> dict[str, int]:
        """How many records of each chore that found any, and what was tidied."""
        return {each.chore.name: each.records for each in self.done if each.records} | self.tidied


class Caretaker:
    """One worker's turn at upkeep, again and again."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._period_s = float(site.config.upkeep_every_s)

    async def take_turn(self) -> Run | None:
        """Do what there is to do, unless another worker has done so this period. Tells it in a line for each store.

        Returns what was done in the SQL store; None when that was not looked at.
        """
        site, pause = self._site, self._pause_until(time.monotonic() + self._period_s * _SHARE)
        try:
            if not await site.queue.claim_upkeep(site.fleet.worker_id, round(self._period_s * _SHARE * 1000)):
                return None
        except QueueUnavailable as exc:
            _log.warning("upkeep waits", reason=str(exc))
            return None
        run = await self._run(pause)
        await self._tend_vectors(pause)
        return run

    async def _run(self, pause: Pause) -> Run | None:
        site, began = self._site, time.monotonic()
        run = None
        try:
            await self._purge_letters(pause)  # first: no store need answer for it
            run = Run(await site.stores.sql(), site.config, site.now_ms() * 1000)
            await run.perform(pause)
        except (QueueUnavailable, QueueFull, StoreError) as exc:
            _log.warning("upkeep waits", reason=str(exc), **(run.counted() if run else {}))
            return run
        counted = run.counted()
        say = _log.info if counted else _log.debug
        say("upkeep", complete=run.is_complete, ms=round((time.monotonic() - began) * 1000), **counted)
        return run

    async def _tend_vectors(self, pause: Pause) -> None:
        """Tend the vectors. A namespace that never had any is not given a store of them."""
        site, began = self._site, time.monotonic()
        before_us = site.now_ms() * 1000 - site.config.tombstone_days * _DAY_US
        done: Counter[str] = Counter()
        try:
            if await site.has_vectors():
                await tend_all(await site.stores.vectors(), before_us, pause, done)
        except (QueueUnavailable, StoreError) as exc:
            _log.warning("upkeep of vectors waits", reason=str(exc), **done)
            return
        if done:
            _log.info("upkeep of vectors", ms=round((time.monotonic() - began) * 1000), **done)

    async def _purge_letters(self, pause: Pause) -> None:
        """Purge the dead letters that are past their time, and tell how many of each lane."""
        days = self._site.config.retain_dead_days
        if not days:
            return
        gone: Counter[str] = Counter()
        try:
            await expire(self._site.queue, self._site.now_ms() - days * _DAY_US // 1000, gone, pause)
        finally:
            if gone:
                _log.info("dead letters purged", older_than=_days(days), **gone)

    def _pause_until(self, end: float) -> Pause:
        async def pause(took_s: float) -> bool:
            rest = took_s * (_REST_BESIDE_DRAINS if self._site.fleet.is_draining else _REST)
            stopping = self._site.fleet.stopping
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), min(rest, max(0.0, end - time.monotonic())))
            return time.monotonic() < end and not stopping.is_set()

        return pause


def told(done: Sequence[Done]) -> list[Done]:
    """Those of *done* that are worth a line: a limit of size is told only where it takes something."""
    return [each for each in done if each.records or each.chore.name == each.chore.kind]
