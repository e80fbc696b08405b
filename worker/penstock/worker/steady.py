"""Keeps arq's worker running, whatever the line to the queue server does.

By itself arq ends on every error of the line that its client does not retry: a server that is killed while a connection
is greeted, or while a key is watched. No job holds data, so nothing is lost with one: the sweep rings again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

import structlog
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import OutOfMemoryError, RedisError

_log = structlog.get_logger("penstock.worker")

_PAUSE_S = 0.5

_TRIES = 20

_SILENCE_S = 10.0

_LINE_ERRORS = (RedisError, OSError)

_Call = Callable[..., Coroutine[Any, Any, None]]


class Patience(Retry):
    """How long arq's client tries again: some 15 s, and not at all once the worker is to end."""

    def __init__(self) -> None:
        super().__init__(ExponentialBackoff(cap=1, base=0.05), _TRIES)
        self.over = False

    def __deepcopy__(self, _memo: object) -> Self:
        return self  # every connection asks for a copy; one word is for all of them

    async def call_with_retry(self, do: Callable[[], Awaitable[Any]], fail: Callable[[Any], Any]) -> Any:
        """See `Retry.call_with_retry`."""
        tries = itertools.count(1)
        while True:
            try:
                return await do()
            except self._supported_errors as exc:
                failures = next(tries)
                await fail(exc)
                if self.over or failures > self._retries:
                    raise
                await asyncio.sleep(self._backoff.compute(failures))


async def steady(worker: Any) -> None:
    """Have arq's *worker* bear errors of the line, and a server that is full. For its start, when it has a client."""
    # arq cannot be told how long an answer may take, and would wait for ever where a line is dead without a word.
    pool = worker.pool.connection_pool
    pool.connection_kwargs["socket_timeout"] = _SILENCE_S
    await pool.disconnect()
    worker.heart_beat = _tolerant(worker.heart_beat)
    worker.start_jobs = _counted(worker.start_jobs, worker._release_sem_dec_counter_on_complete)  # noqa: SLF001 - arq's
    worker._poll_iteration = _borne(worker._poll_iteration)  # noqa: SLF001 - arq's
    worker.close = _closing(worker, worker.close)


def _tolerant(heart_beat: Callable[[], Awaitable[None]]) -> _Call:
    """arq's heartbeat, which also queues its cron jobs. It must not end the worker when the server is full."""

    async def beat() -> None:
        with contextlib.suppress(OutOfMemoryError):
            await heart_beat()

    return beat


def _counted(start_jobs: Callable[[list[bytes]], Awaitable[None]], give_back: Callable[[], None]) -> _Call:
    """arq's start of jobs, which counts one before it asks for it, and goes on counting it where the line breaks."""

    async def start(job_ids: list[bytes]) -> None:
        try:
            await start_jobs(job_ids)
        except _LINE_ERRORS:
            give_back()
            raise

    return start


def _borne(look: Callable[[], Awaitable[None]]) -> _Call:
    """arq's look for jobs to start and for those that have ended, some of them by an error of the line."""

    async def look_again() -> None:
        try:
            await look()
        except _LINE_ERRORS as exc:
            _log.warning("queue away", reason=f"{type(exc).__name__}: {exc}")
            await asyncio.sleep(_PAUSE_S)

    return look_again


def _closing(worker: Any, close: Callable[[], Awaitable[None]]) -> _Call:
    """arq's end, which would leave the stores open where the queue server is away."""

    async def end() -> None:
        await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
        worker.tasks.clear()
        try:
            await close()
        except _LINE_ERRORS:
            await worker.on_shutdown(worker.ctx)

    return end
