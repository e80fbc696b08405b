"""With `steady` all that knows arq: schedules drains and sweeps, defers what must wait, hands over on SIGTERM.

arq holds no data: its jobs are names of partitions. `docs/design.md` says what each setting costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import msgpack
import structlog
from arq import Retry, cron
from arq.connections import ArqRedis
from arq.cron import CronJob
from arq.jobs import Job, JobStatus
from arq.worker import Worker, create_worker, func
from redis.exceptions import OutOfMemoryError, RedisError

from penstock.stores.errors import StoreError
from penstock.wire.errors import QueueFull, QueueUnavailable
from penstock.wire.keys import Keys, Partition
from penstock.wire.loops import new_loop
from penstock.wire.queue import MAX_PARTITIONS, Queue
from penstock.wire.records import LANES
from penstock.wire.server import check_server
from penstock.wire.strategies import load
from penstock.wire.tasks import end_task
from penstock.worker.drain import LaneWaits, Slice, drain
from penstock.worker.fleet import Busy, Fleet
from penstock.worker.fullserver import FullServerDrains
from penstock.worker.gatekeeper import Gatekeeper
from penstock.worker.indexing import Indexer
from penstock.worker.lanes import LanePaused
from penstock.worker.logs import configure
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Site, Stores
from penstock.worker.steady import Doorman, Patience, redis_settings, steady
from penstock.worker.steps import Reached, Step, go_on
from penstock.worker.sweeper import forgotten
from penstock.worker.tuning import keep_collecting, suit_records
from penstock.worker.upkeep import Caretaker

_log = structlog.get_logger("penstock.worker")

_FOREVER = 10**9
"""Tries: a drain is data-free, so arq must never give up on one."""
_MOST_DRAINS = len(LANES) * MAX_PARTITIONS
_DRAIN_GRACE_S = 1_800
"""A slice ends by itself; a frame that is bisected in child processes takes minutes. arq keeps the job of a killed
worker for this long, which costs nothing: the sweep rings a new one."""
_UPKEEP_GRACE_S = 60
"""A run ends itself before its period is over, but for the slice that runs then."""
_BELL_WAIT_S = 1.0
_QUEUE_PAUSE_S = 0.5
_SWEEP_S = 1.0
_SWEEP_CLAIM_MS = 900
_LONGEST_DEFER_MS = 10_000
"""Beside a back-off's; a job that is due later than both was queued by a clock that is ahead of ours."""
_AWAY = (QueueUnavailable, RedisError, OSError)
"""arq's client raises its own errors, and a `WatchError` where the line breaks while a key is watched."""


class Foreman:
    """One worker process under arq: its site, and the tasks beside the jobs."""

    def __init__(self, config: WorkerConfig, reached: Reached = go_on) -> None:
        self._config = config
        self._reached = reached
        self._keys = Keys(config.namespace)
        self._worker_id = f"{socket.gethostname()}:{os.getpid()}"
        self._tasks: list[asyncio.Task[None]] = []
        self._site: Site | None = None
        self._arq: ArqRedis | None = None
        self._doorman: Doorman | None = None
        self._patience = Patience()

    def settings(self) -> dict[str, Any]:
        """What arq's worker is built from."""
        return {
            "functions": [
                func(
                    cast("Any", self._drain), name="drain", timeout=self._timeout_s(), max_tries=_FOREVER, keep_result=0
                ),
                func(cast("Any", _leave), name=f"{self._config.namespace}:sweep", keep_result=0),
            ],
            "cron_jobs": self._upkeep_jobs(),
            "redis_settings": redis_settings(self._config.redis_url, self._patience),
            "queue_name": self._keys.jobs(),
            "on_startup": self._start,
            "on_shutdown": self._stop,
            # Ours: arq's handler cancels jobs, and a drain must finish its batch and hand over instead.
            "handle_signals": False,
            "max_jobs": _MOST_DRAINS + 4,
            # Running jobs stay at the head of arq's queue, so this bounds what the whole fleet runs at once.
            "queue_read_limit": 4 * _MOST_DRAINS + 100,
            "poll_delay": self._config.poll_ms / 1000,
            "keep_result": 0,
            "log_results": False,
            "health_check_interval": 15,
            "health_check_key": f"{self._config.namespace}:health:{self._worker_id}",
            "allow_abort_jobs": False,
            "job_timeout": 20,
            "job_serializer": msgpack.packb,
            "job_deserializer": functools.partial(msgpack.unpackb, strict_map_key=False),
        }

    def _cron(self, name: str, work: Callable[..., Any], every_s: int, timeout_s: float) -> CronJob:
        """A job of one worker of the fleet, each minute and every *every_s* seconds of it."""
        return cron(
            cast("Any", work),
            name=f"{self._config.namespace}:{name}",
            second=set(range(0, 60, min(every_s, 60))),
            microsecond=0,
            timeout=timeout_s,
            keep_result=0,
        )

    def _upkeep_jobs(self) -> list[CronJob]:
        # arq's table knows no periods: a job each minute at the least, which finds out whether its time has come.
        every_s = self._config.upkeep_every_s
        return [self._cron("upkeep", self._upkeep, every_s, every_s + _UPKEEP_GRACE_S)] if every_s else []

    def _timeout_s(self) -> float:
        return self._config.slice_ms / 1000 + _DRAIN_GRACE_S

    # -- start and stop -------------------------------------------------------------------------

    async def _start(self, ctx: dict[Any, Any]) -> None:
        configure(self._config)
        suit_records()
        self._arq = ctx["redis"]
        stores = Stores(self._config)
        await stores.refuse_unfit_schema()
        queue = Queue(self._config.redis_url, self._config.namespace)
        await queue.open(self._config.partitions)
        await check_server(queue.scripts, self._config.server_check)
        fleet = Fleet(queue, self._worker_id, self._config.lease_ms)
        self._site = Site(
            config=self._config,
            queue=queue,
            stores=stores,
            fleet=fleet,
            reached=self._reached,
            now_ms=queue.clock.now_ms,
        )
        await fleet.beat()
        await self._sweep()
        beside = [
            fleet.keep_beating,
            self._keep_sweeping,
            self._answer_bell,
            FullServerDrains(self._site, _tell).keep_watch,
            keep_collecting,
        ]
        beside += [Gatekeeper(self._site, lane).keep for lane in LANES]
        if self._config.index_every_ms:
            beside.append(Indexer(self._site).keep_up)
        worker = _running_worker()
        if worker.burst:
            # arq queues the next upkeep ahead of its second, and a burst ends only when its queue is empty.
            worker.cron_jobs.clear()
        self._doorman = await steady(worker)
        self._tasks = [asyncio.create_task(_kept_alive(each)) for each in beside]
        if not worker.burst:
            self._tasks.append(asyncio.create_task(self._load_vectors()))
        self._hand_over_on_signals(worker, self._doorman)
        _log.info("worker started", worker=self._worker_id, partitions=queue.partitions, share=fleet.share)

    async def _load_vectors(self) -> None:
        """Where there were vectors before, have their store ready for the next: its driver may load for seconds.

        What keeps it from being ready is told by the drain that meets it.
        """
        with contextlib.suppress(QueueUnavailable, StoreError):
            if await self._require().has_vectors():
                await self._require().stores.vectors()

    def _hand_over_on_signals(self, worker: Worker, doorman: Doorman) -> None:
        """On SIGTERM or SIGINT take nothing more, let the drains finish their batch and release, then end."""
        loop = asyncio.get_running_loop()

        def begin(name: str) -> None:
            if self._require().fleet.stopping.is_set():
                return
            self._require().fleet.stopping.set()
            self._patience.over = True
            self._reached(Step.SHUTDOWN)
            worker.allow_pick_jobs = False
            _log.info("stopping", signal=name, worker=self._worker_id)
            self._tasks.append(loop.create_task(_finish(worker, doorman, self._require().fleet)))

        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in a main thread
                loop.add_signal_handler(number, begin, number.name)

    async def _stop(self, _ctx: dict[Any, Any]) -> None:
        if self._site is None:
            return  # it never started; the error that says why is on its way
        site = self._site
        site.fleet.stopping.set()
        for task in self._tasks:
            await end_task(task)
        await site.fleet.leave()
        await site.stores.close()
        await site.queue.close()
        _log.info("worker stopped", worker=self._worker_id)

    def _require(self) -> Site:
        if self._site is None:
            raise RuntimeError("the worker has not started")
        return self._site

    # -- jobs -----------------------------------------------------------------------------------

    async def _drain(self, _ctx: dict[Any, Any], lane: str, number: int) -> None:
        partition = Partition(lane, number)
        started = asyncio.get_running_loop().time()
        try:
            moved = await drain(self._require(), partition)
        except Busy as exc:
            await self._require().fleet.look_again()
            # Not deferred: the next to look is another worker, and deferring would hide the job from it as well.
            raise Retry from exc
        except LanePaused as exc:
            if exc.delay_s is None:
                return
            raise Retry(defer=exc.delay_s) from exc
        except LaneWaits as exc:
            _log.warning(
                "lane waits", partition=str(partition), failures=exc.failures, delay_s=exc.delay_s, reason=exc.reason
            )
            raise Retry(defer=exc.delay_s) from exc
        except QueueUnavailable as exc:
            _log.warning("queue away", partition=str(partition), reason=str(exc))
            raise Retry(defer=_QUEUE_PAUSE_S) from exc
        if moved is None:
            return
        if moved.generation:
            await self._call_for([(partition, moved.generation)])
        _tell(partition, moved, asyncio.get_running_loop().time() - started)

    async def _keep_sweeping(self) -> None:
        """Each second by one worker of all. No cron job of arq's: a clock that goes back has it rest for as long."""
        site = self._require()
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                if await site.queue.claim_sweep(self._worker_id, _SWEEP_CLAIM_MS):
                    await self._sweep()
            except QueueFull:
                continue  # `FullServerDrains` sees to it
            except _AWAY as exc:
                _log.warning("queue away", reason=str(exc))

    async def _sweep(self) -> None:
        found = await forgotten(self._require(), self._is_queued)
        for partition, generation in found:
            await self._strike_out(partition, generation - 1)
        await self._call_for(found)

    async def _upkeep(self, _ctx: dict[Any, Any]) -> None:
        await Caretaker(self._require()).take_turn()

    async def _answer_bell(self) -> None:
        """Turn rings into jobs that start at once. Rings are a list of ours, so that arq's layout is no contract."""
        queue = self._require().queue
        while True:
            try:
                rung = await queue.heard(_BELL_WAIT_S)
                if rung is not None:
                    await self._answer(*rung)
            except _AWAY:
                await asyncio.sleep(_QUEUE_PAUSE_S)

    async def _answer(self, partition: Partition, generation: int) -> None:
        if self._require().fleet.stopping.is_set():
            await self._call_for([(partition, generation)])  # others, who would come to it a poll later
            await asyncio.sleep(_BELL_WAIT_S)
            return
        await self._enqueue(partition, generation)
        if self._doorman is not None:
            await self._doorman.start(self._job_id(partition, generation))

    async def _call_for(self, wanted: Sequence[tuple[Partition, int]]) -> None:
        """Queue drains, and ring for them: the workers that waited longest for a bell begin at once, so they share."""
        for partition, generation in wanted:
            await self._enqueue(partition, generation)
        if wanted:
            with contextlib.suppress(QueueFull, QueueUnavailable):
                await self._require().queue.ring(wanted)

    async def _enqueue(self, partition: Partition, generation: int) -> None:
        if self._arq is None:
            raise RuntimeError("the worker has not started")
        # A full server has no room for a job: `FullServerDrains` does without, and later the sweep rings again.
        with contextlib.suppress(OutOfMemoryError):
            await self._arq.enqueue_job("drain", *partition, _job_id=self._job_id(partition, generation))

    async def _strike_out(self, partition: Partition, generation: int) -> None:
        """Take a job from arq's queue: one that a killed worker began stays at its head until its time is over.

        Each worker asks for it at each look: 24 of them cost 13 % of a core, for half an hour.
        """
        if self._arq is not None:
            await self._arq.zrem(self._keys.jobs(), self._job_id(partition, generation))

    async def _is_queued(self, partition: Partition, generation: int) -> bool:
        if self._arq is None:
            raise RuntimeError("the worker has not started")
        job_id = self._job_id(partition, generation)
        if await Job(job_id, self._arq, self._keys.jobs()).status() not in (JobStatus.queued, JobStatus.deferred):
            return False
        # Due by the clock of who queued it: where that was ahead, or ours went back, nobody would run it for as long.
        due_ms = await self._arq.zscore(self._keys.jobs(), job_id)
        return due_ms is not None and due_ms - time.time() * 1000 <= _LONGEST_DEFER_MS + self._config.backoff_cap_ms

    def _job_id(self, partition: Partition, generation: int) -> str:
        # arq's job keys are shared by everything on a server, so the namespace is part of the id.
        return f"{self._config.namespace}:drain:{partition}:{generation}"


async def _leave(_ctx: dict[Any, Any]) -> None:
    """What workers of 0.1 queue each second for a sweep, which ours do beside the jobs."""


def _running_worker() -> Worker:
    """arq's worker, seen from its start-up hook, which is not told: the hook runs in the task of `Worker.main`."""
    main = asyncio.current_task()
    worker = inspect.getcoroutinelocals(cast("Coroutine[Any, Any, Any]", main and main.get_coro()))["self"]
    return cast("Worker", worker)


async def _kept_alive(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *work* until cancelled. An error it did not foresee is told, and costs a moment."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - whatever it is, the worker needs this task
            _log.exception("task failed", task=work.__qualname__)
        await asyncio.sleep(_QUEUE_PAUSE_S)


async def _finish(worker: Worker, doorman: Doorman, fleet: Fleet) -> None:
    """End *worker* when its jobs have ended. arq would cancel them, between two steps of its own if need be."""
    await doorman.close()
    while jobs := [task for task in worker.tasks.values() if not task.done()]:
        await asyncio.wait(jobs)
    await fleet.idle.wait()  # arq does not know of canaries, nor of what is drained while the server is full
    if worker.main_task is not None:
        await end_task(worker.main_task)


def _tell(partition: Partition, moved: Slice, seconds: float) -> None:
    say = _log.info if moved.records or moved.dead else _log.debug
    say(
        "slice",
        partition=str(partition),
        records=moved.records,
        stored=moved.stored,
        skipped=moved.skipped,
        dead=moved.dead,
        batches=moved.batches,
        ms=round(seconds * 1000),
    )


def worker_settings(config: WorkerConfig, reached: Reached = go_on) -> type:
    """The class that `arq penstock.worker.WorkerSettings` reads."""
    return type("WorkerSettings", (), Foreman(config, reached).settings())


def run_worker(config: WorkerConfig, *, burst: bool = False, reached: Reached = go_on) -> None:
    """Run a worker until SIGTERM or SIGINT, or, with *burst*, until the queue is empty. Blocks.

    *reached* is told of every step that a drain comes to.

    Raises:
        QueueUnavailable: The queue server does not answer at the start.
        ConfigMismatch, BadStoreURL, InvalidSetting: A setting cannot be used.
    """
    Stores(config)  # a wrong URL is told before anything starts, and a wrong strategy
    load(config.strategy)
    asyncio.set_event_loop(new_loop(config.uvloop))
    create_worker(worker_settings(config, reached), burst=burst).run()
