"""How a command reaches the queue, only to look, so that it creates no namespace; and the stores."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from penstock.wire.queue import Queue
from penstock.wire.settings import from_mapping

if TYPE_CHECKING:
    from penstock.embedding import Embedder
    from penstock.stores.contract import SqlStore
    from penstock.stores.vector_contract import VectorStore

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


@asynccontextmanager
async def sql_at(url: str) -> AsyncIterator[SqlStore]:
    """The SQL store at *url*, closed afterwards. Nothing is set up."""
    from penstock.stores.registry import sql_store  # noqa: PLC0415 - drivers are slow to load

    store = sql_store(url)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def vectors_at(url: str) -> AsyncIterator[VectorStore]:
    """The vector store at *url*, closed afterwards. Nothing is set up."""
    from penstock.stores.registry import vector_store  # noqa: PLC0415 - drivers are slow to load

    store = vector_store(url)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def embedder_of_settings() -> AsyncIterator[Embedder | None]:
    """The embedder that the environment names, closed afterwards; None where it names none."""
    from penstock.embedding import open_embedder  # noqa: PLC0415 - see `sql_at`
    from penstock.query.reader import ReaderSettings  # noqa: PLC0415

    settings = from_mapping(ReaderSettings, os.environ)
    if not settings.embedder:
        yield None
        return
    embedder = open_embedder(settings.embedder, settings.embedder_key)
    try:
        yield embedder
    finally:
        await embedder.close()
