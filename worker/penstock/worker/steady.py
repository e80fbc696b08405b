"""Keeps arq's worker running, whatever the line to the queue server does, and has it start a job without waiting.

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
from arq.connections import RedisSettings
from arq.constants import in_progress_key_prefix
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from penstock.wire.connections import use_own_errors

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


def redis_settings(url: str, patience: Patience) -> RedisSettings:
    """arq's settings from *url*, read as the queue's own client reads it: arq's parser leaves `%40` in a password."""
    given = parse_url(url)
    settings = RedisSettings(
        host=given.get("host", "localhost"),
        port=given.get("port", 6379),
        unix_socket_path=given.get("path"),
        database=given.get("db", 0),
        username=given.get("username"),
        password=given.get("password"),
        ssl=given.get("connection_class") is SSLConnection,
    )
    # Without these a restart of the queue server ends the worker (arq issues 386, 435, 498).
    settings.retry = patience
    settings.retry_on_timeout = True
    settings.retry_on_error = [RedisConnectionError, RedisTimeoutError, OSError]
    return settings


class Doorman:
    """Lets jobs into arq's worker, one look at a time: arq's own at each poll, and ours when a bell rings."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._start_jobs: Callable[[list[bytes]], Awaitable[None]] = worker.start_jobs
        self._looking = asyncio.Lock()

    async def start(self, job_id: str) -> None:
        """Start a queued job at once, unless the worker takes no more, or is to end when its queue is empty."""
        async with self._looking:
            if not self._worker.burst:
                await self._start([job_id.encode()])

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start those of *job_ids* that nobody runs: what arq comes across at a poll."""
        async with self._looking:
            await self._start(await self._idle(job_ids))

    async def _start(self, job_ids: list[bytes]) -> None:
        """See arq's own, which counts a job before it asks for it, and goes on counting it where the line breaks.

        A look of arq's may have begun before the worker was told to take no more.
        """
        if not self._worker.allow_pick_jobs:
            return
        try:
            await self._start_jobs(job_ids)
        except _LINE_ERRORS:
            with contextlib.suppress(ValueError):  # it broke at the last word about a job that is given back by then
                self._worker._release_sem_dec_counter_on_complete()  # noqa: SLF001 - arq's
            raise

    async def _idle(self, job_ids: list[bytes]) -> list[bytes]:
        """Those that nobody runs. arq asks for each in three round trips, and what runs stays at the queue's head."""
        running = self._worker.tasks
        others = [one for one in job_ids if (task := running.get(one.decode())) is None or task.done()]
        if not others:
            return []
        begun = await self._worker.pool.mget([in_progress_key_prefix + one.decode() for one in others])
        return [one for one, by in zip(others, begun, strict=True) if by is None]

    async def close(self) -> None:
        """Wait until what is being let in is a job. To be called when the worker takes no more."""
        async with self._looking:
            pass


async def steady(worker: Any) -> Doorman:
    """Have arq's *worker* bear errors of the line, and a server that is full. For its start, when it has a client."""
    # arq cannot be told how long an answer may take, and would wait for ever where a line is dead without a word.
    pool = worker.pool.connection_pool
    pool.connection_kwargs["socket_timeout"] = _SILENCE_S
    use_own_errors(pool)
    await pool.disconnect()
    pool.reset()  # what is there would connect again as it was made
    worker.heart_beat = _tolerant(worker.heart_beat)
    doorman = Doorman(worker)
    worker.start_jobs = doorman.start_jobs
    worker._poll_iteration = _borne(worker._poll_iteration)  # noqa: SLF001 - arq's
    worker.close = _closing(worker, doorman, worker.close)
    return doorman


def _tolerant(heart_beat: Callable[[], Awaitable[None]]) -> _Call:
    """arq's heartbeat, which also queues its cron jobs. It must not end the worker when the server is full."""

    async def beat() -> None:
        with contextlib.suppress(OutOfMemoryError):
            await heart_beat()

    return beat


def _borne(look: Callable[[], Awaitable[None]]) -> _Call:
    """arq's look for jobs to start and for those that have ended, some of them by an error of the line."""

    async def look_again() -> None:
        try:
            await look()
        except _LINE_ERRORS as exc:
            _log.warning("queue away", reason=f"{type(exc).__name__}: {exc}")
            await asyncio.sleep(_PAUSE_S)

    return look_again


def _closing(worker: Any, doorman: Doorman, close: Callable[[], Awaitable[None]]) -> _Call:
    """arq's end, which would leave the stores open where the queue server is away, and waits for no new job."""

    async def end() -> None:
        worker.allow_pick_jobs = False
        await doorman.close()
        await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
        worker.tasks.clear()
        try:
            await close()
        except _LINE_ERRORS:
            await worker.on_shutdown(worker.ctx)

    return end
