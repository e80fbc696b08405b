"""How a command reaches the queue: only to look, so that it creates no namespace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from penstock.wire.queue import Queue

T = TypeVar("T")


@asynccontextmanager
async def looking_at(redis_url: str, namespace: str) -> AsyncIterator[Queue]:
    """The queue, opened. A namespace that does not exist is left so."""
    queue = Queue(redis_url, namespace)
    try:
        yield await queue.open(create=False)
    finally:
        await queue.close()


def ask(redis_url: str, namespace: str, question: Callable[[Queue], Awaitable[T]]) -> T:
    """The answer of the queue to *question*. Raises `QueueUnavailable`, and what *question* raises."""

    async def run() -> T:
        async with looking_at(redis_url, namespace) as queue:
            return await question(queue)

    return asyncio.run(run())


async def reachable(_: Queue) -> None:
    """The question whose answer is that the queue answers."""
