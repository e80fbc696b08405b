"""Fixtures that every test may use: a real queue server, a fresh namespace for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.wire.queue import Queue


@pytest.fixture(scope="session")
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedQueue]:
    """One Valkey with AOF for the whole run; tests keep apart by their namespaces."""
    folder: Path = tmp_path_factory.mktemp("queue")
    with EmbeddedQueue(folder) as server:
        yield server


@pytest.fixture
def redis_url(queue_server: EmbeddedQueue) -> str:
    return queue_server.url


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[Queue]:
    """The queue of this test's own namespace, opened."""
    async with Queue(redis_url, namespace) as opened:
        yield opened
