"""arq's worker bears what the line to the queue server does, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from penstock.embedded import EmbeddedQueue
from penstock.worker import steady as module
from penstock.worker.steady import Patience, steady

LINE_ERRORS = (RedisConnectionError("reset"), RedisTimeoutError("silent"), WatchError("watching"), OSError("no route"))


class ArqWorker:
    """As much of arq's worker as is changed. Every call raises `error`, if there is one."""

    def __init__(self, port: int) -> None:
        self.pool = ArqRedis(port=port, retry=Patience())
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ctx: dict[Any, Any] = {}
        self.error: Exception | None = None
        self.given_back = 0
        self.started: list[bytes] = []
        self.allow_pick_jobs = True
        self.burst = False
        self.ended = False

    async def _do(self, *_: object) -> None:
        if self.error is not None:
            raise self.error

    heart_beat = _poll_iteration = close = _do

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        await self._do()
        self.started += job_ids

    def _release_sem_dec_counter_on_complete(self) -> None:
        self.given_back += 1

    async def on_shutdown(self, _ctx: object) -> None:
        self.ended = True


@pytest.fixture
async def queued(queue_server: EmbeddedQueue) -> AsyncIterator[ArqWorker]:
    """On a line that answers."""
    worker = ArqWorker(urlsplit(queue_server.url).port or 0)
    yield worker
    await worker.pool.aclose()


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArqWorker]:
    """Steady, on a line that says nothing."""
    monkeypatch.setattr(module, "_PAUSE_S", 0)
    monkeypatch.setattr(module, "_SILENCE_S", 0.05)

    async def say_nothing(requests: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        await requests.read()
        answers.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        worker = ArqWorker(silent.sockets[0].getsockname()[1])
        await steady(worker)
        yield worker
        await worker.pool.aclose()


@pytest.mark.parametrize("error", LINE_ERRORS, ids=lambda error: type(error).__name__)
async def test_a_look_for_jobs_outlives_every_error_of_the_line(worker: ArqWorker, error: Exception) -> None:
    worker.error = error

    await worker._poll_iteration()


async def test_a_look_for_jobs_hides_no_mistake(worker: ArqWorker) -> None:
    worker.error = ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await worker._poll_iteration()


async def test_a_job_that_could_not_be_started_is_counted_no_more(queued: ArqWorker) -> None:
    doorman = await steady(queued)
    queued.error = WatchError("watching")

    with pytest.raises(WatchError):
        await queued.start_jobs([b"job"])
    with pytest.raises(WatchError):
        await doorman.start("job")

    assert queued.given_back == 2


async def test_a_look_asks_for_no_job_that_runs_here_or_elsewhere(queued: ArqWorker) -> None:
    await steady(queued)
    ended, running = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(asyncio.sleep(60))
    await ended
    queued.tasks = {"ended": ended, "here": running}
    await queued.pool.psetex(f"{in_progress_key_prefix}elsewhere", 60_000, b"1")

    await queued.start_jobs([b"here", b"elsewhere", b"ended", b"new"])

    assert queued.started == [b"ended", b"new"]
    running.cancel()


@pytest.mark.parametrize("rest", [{"allow_pick_jobs": False}, {"burst": True}], ids=["stopping", "burst"])
async def test_a_bell_starts_nothing_at_a_worker_that_takes_no_more(queued: ArqWorker, rest: dict[str, bool]) -> None:
    doorman = await steady(queued)
    await doorman.start("before")
    vars(queued).update(rest)

    await doorman.start("after")

    assert queued.started == [b"before"]


async def test_a_look_that_began_before_a_stop_starts_nothing_after_it(queued: ArqWorker) -> None:
    await steady(queued)
    queued.allow_pick_jobs = False

    await queued.start_jobs([b"job"])

    assert queued.started == []


async def test_no_bell_starts_a_job_at_a_worker_that_has_ended(queued: ArqWorker) -> None:
    doorman = await steady(queued)
    await queued.close()

    await doorman.start("job")

    assert queued.started == []


async def test_a_job_that_arq_gave_back_before_the_line_broke_ends_no_worker(
    queued: ArqWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = asyncio.BoundedSemaphore(1)
    monkeypatch.setattr(queued, "_release_sem_dec_counter_on_complete", counted.release)
    await steady(queued)
    queued.error = RedisTimeoutError("silent")

    with pytest.raises(RedisTimeoutError):
        await queued.start_jobs([b"job"])


async def test_an_end_waits_for_what_a_bell_is_starting(queued: ArqWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def start_jobs(job_ids: list[bytes]) -> None:
        begun.set()
        await go_on.wait()
        queued.started += job_ids

    monkeypatch.setattr(queued, "start_jobs", start_jobs)
    doorman = await steady(queued)
    starting = asyncio.create_task(doorman.start("job"))
    await begun.wait()
    ending = asyncio.create_task(doorman.close())
    await asyncio.sleep(0)

    assert not ending.done()
    go_on.set()
    await asyncio.gather(starting, ending)
    assert queued.started == [b"job"]


async def test_a_heart_beats_on_a_full_server(worker: ArqWorker) -> None:
    worker.error = OutOfMemoryError("full")

    await worker.heart_beat()


async def test_an_end_without_the_queue_server_closes_what_is_open(worker: ArqWorker) -> None:
    async def fail() -> None:
        raise RedisConnectionError("gone")

    worker.tasks = {"job": asyncio.create_task(fail())}
    worker.error = RedisConnectionError("gone")

    await worker.close()

    assert worker.ended


async def test_a_line_that_says_nothing_is_given_up_once_patience_is_over(worker: ArqWorker) -> None:
    patience = worker.pool.get_retry()
    assert isinstance(patience, Patience)
    patience.over = True

    async with asyncio.timeout(5):
        with pytest.raises(RedisTimeoutError):
            await worker.pool.get("key")
