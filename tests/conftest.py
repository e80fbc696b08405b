"""Fixtures that every test may use: a real queue server with a fresh namespace for each test, a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.wire.queue import Queue
from tests.conformance.postgres_server import Postgres, Schema

# Of the terminal that started several processes of tests, where commands print to none.
for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)

# A shell lets what it starts in the background ignore Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedQueue]:
    """One Valkey, or what `make test-oldest` chooses, with AOF for the whole run; tests keep apart by namespaces."""
    folder: Path = tmp_path_factory.mktemp("queue")
    with EmbeddedQueue(folder, binary=os.environ.get("TEST_QUEUE_SERVER")) as server:
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the whole run, out of a wheel; tests keep apart by their schemas."""
    # Not in pytest's folder: another run that begins closes that one to the user that the server runs as under root.
    with tempfile.TemporaryDirectory(prefix="penstock-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "data")
        yield server
        server.close()


@pytest.fixture
def schema(postgres: Postgres) -> Iterator[Schema]:
    with postgres.schema() as schema:
        yield schema
