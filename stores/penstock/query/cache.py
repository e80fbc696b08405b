"""Answers kept in the queue server, before a reader asks its store: tasks, agents' states, sessions and their lists.

Workers forget what they change (`wire.caching`), so an answer is at most as old as what was not stored by a worker:
what upkeep removed, and what was written without a queue.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar

from penstock.query.cache_settings import CacheSettings
from penstock.query.cached_rows import BadAnswer, packed, unpacked
from penstock.wire.caching import AnswerCache, Looked, Subject
from penstock.wire.errors import PenstockError
from penstock.wire.keys import Keys
from penstock.wire.logs import logger
from penstock.wire.scripts import Scripts
from penstock.wire.settings import from_mapping

_PATIENCE_S = 0.5
"""Longest wait for the server of the cache. The store is asked then."""

_REST_S = 5.0
"""A server that did not answer is not asked again for this long."""

_TELL_S = 1.0
"""How often hits and misses are told to the server."""

_LOOK_AGAIN_S = (0.005, 0.05)
"""While another asks the store: the first pause, and the longest."""

MAX_ANSWER_BYTES = 256 * 1024
"""A larger one is not kept: the queue server's memory is for the queue."""

_TOO_LARGE = b"\xc1"
"""In place of such an answer, and no MessagePack: who asks again asks the store at once, and waits for nobody."""

_T = TypeVar("_T")


class Cache:
    """The answers that all readers of a namespace share. Without its server everything goes on, uncached.

    Any number of tasks that ask the same at once make one question to the store, in all processes together.
    """

    def __init__(self, settings: CacheSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._scripts = Scripts(settings.redis_url)
        self._answers = AnswerCache(self._scripts, Keys(settings.namespace))
        self._resting_until = 0.0
        self._told_at: float | None = None
        self._hits = 0
        self._misses = 0

    @classmethod
    def at(cls, redis_url: str, *, namespace: str = "penstock", **seconds: int) -> Self:
        """The cache of the workers at *redis_url*. *seconds* are fields of `CacheSettings`, as `cache_task_s=60`."""
        return cls(CacheSettings(redis_url=redis_url, namespace=namespace, **seconds))  # type: ignore[arg-type]

    @classmethod
    def from_env(cls, mapping: Mapping[str, str] | None = None) -> Self:
        """The cache that the environment names."""
        return cls(from_mapping(CacheSettings, os.environ if mapping is None else mapping))

    async def clear(self, pattern: str = "*") -> int:
        """Forget answers. *pattern* is a glob of `kind:id`: `task:*`, `session:chat-?`. Returns of how many subjects.

        Raises:
            QueueUnavailable: Some may be forgotten.
        """
        return await self._answers.clear(pattern)

    async def close(self) -> None:
        """Tell what was counted, and let go. May be repeated."""
        if self._told_at is not None:
            await self._guarded(self._tell)
        await self._scripts.close()

    async def answer(self, subject: Subject, question: str, ask: Callable[[], Awaitable[_T]], make: Any) -> _T:
        """What is kept of *question*, else what *ask* says; *make* is the class of its rows.

        Raises what *ask* raises, and nothing else.
        """
        ttl_ms = 1000 * self._settings.ttl_s(subject.kind)
        known = await self._look(subject, question) if ttl_ms else None
        if known is None:
            return await ask()
        if known.answer:
            try:
                found: _T = unpacked(known.answer, make)
            except BadAnswer:  # another release kept it, or it is too large
                self._misses += 1
                return await ask()
            self._hits += 1
            return found
        self._misses += 1
        try:
            answer = await ask()
        except Exception:
            await self._guarded(lambda: self._forget(subject))  # who waits for this answer asks at once
            raise
        body = packed(answer)
        if len(body) > MAX_ANSWER_BYTES:
            body = _TOO_LARGE
        await self._guarded(lambda: self._answers.keep(subject, question, known.token, body, ttl_ms))
        return answer

    async def _forget(self, subject: Subject) -> bool:
        await self._answers.forget([subject])
        return True

    async def _look(self, subject: Subject, question: str) -> Looked | None:
        """What is kept, or the right to ask the store, waited for. None where the cache cannot say."""
        is_due = self._told_at is None or self._clock() - self._told_at >= _TELL_S
        # Before the look: from then on workers forget what they change.
        if is_due and await self._guarded(self._tell) is None:
            return None
        pause, longest = _LOOK_AGAIN_S
        while True:
            known = await self._guarded(lambda: self._answers.look(subject, question))
            if known is None or known.answer:
                return known
            if known.is_ours_to_ask:
                # Before the store is asked: a server that failed over has perhaps lost what it was told a moment ago.
                # test_a_server_that_lost_the_announcement_is_told_again_before_the_store_is_asked fails without.
                return known if await self._guarded(self._tell) else None
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _tell(self) -> bool:
        hits, misses = self._hits, self._misses
        await self._answers.announce(hits, misses)
        self._hits -= hits
        self._misses -= misses
        self._told_at = self._clock()
        return True

    async def _guarded(self, call: Callable[[], Awaitable[_T]]) -> _T | None:
        """What *call* answers; None where the server does not, or is being left alone after that."""
        if self._clock() < self._resting_until:
            return None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await call()
        except (PenstockError, TimeoutError) as exc:
            self._resting_until = self._clock() + _REST_S
            self._told_at = None
            logger("penstock.query").warning("cache away", reason=str(exc) or type(exc).__name__, rest_s=_REST_S)
            return None
