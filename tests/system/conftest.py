"""A queue server of a test's own, for tests that change its settings or kill it; and a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.stores.sqlite import SqliteStore, open_sql
from penstock.wire.queue import Queue


@pytest.fixture
async def own_server(tmp_path: Path, namespace: str) -> AsyncIterator[Queue]:
    """A queue on a server that nobody else uses."""
    with EmbeddedQueue(tmp_path / "queue") as server:
        async with Queue(server.url, namespace) as queue:
            yield queue


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = open_sql(f"sqlite:///{tmp_path}/state.db?synchronous=NORMAL")
    await store.setup()
    yield store
    await store.close()
