"""Settings that would hang or spin a worker are refused when they are read."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from penstock.stores.errors import StoreUnavailable
from penstock.stores.registry import sql_store
from penstock.wire.settings import InvalidSetting, from_mapping
from penstock.worker.opening import Opening
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Stores
from penstock.worker.steady import Patience, redis_settings


@pytest.mark.parametrize("name", ["LEASE_MS", "DRAIN_LINGER_MS", "BACKOFF_BASE_MS", "STREAM_TIMEOUT_MS", "POLL_MS"])
def test_zero_is_refused_with_the_name(name: str) -> None:
    with pytest.raises(InvalidSetting, match=name.lower()):
        from_mapping(WorkerConfig, {f"PENSTOCK_{name}": "0"})


def test_the_producers_linger_is_none_of_the_workers() -> None:
    assert from_mapping(WorkerConfig, {"PENSTOCK_LINGER_MS": "0.5"}) == WorkerConfig()


@pytest.mark.parametrize(
    ("url", "field", "value"),
    [
        ("redis://:p%40ss@127.0.0.1:7000/3", "password", "p@ss"),
        ("redis://me:x@127.0.0.1:7000/3", "username", "me"),
        ("redis://127.0.0.1:7000/3", "database", 3),
        ("unix:///run/queue.sock?db=2", "unix_socket_path", "/run/queue.sock"),
        ("rediss://127.0.0.1:7000/0", "ssl", True),
    ],
)
def test_arq_reads_a_url_as_the_queue_does(url: str, field: str, value: object) -> None:
    assert getattr(redis_settings(url, Patience()), field) == value


async def test_a_store_that_is_away_does_not_hold_up_another() -> None:
    """Law 7: a dead target pauses its own lane."""
    stores, sql = Stores(WorkerConfig(sql_url="memory://", vector_url="memory://")), sql_store("memory://")
    asked, release = asyncio.Event(), asyncio.Event()

    async def hang(*, migrate: bool) -> None:
        asked.set()
        await release.wait()
        raise StoreUnavailable("gone")

    cast("Any", sql).setup = hang
    stores._sql = Opening(lambda: sql, migrate=True)
    waiting = [asyncio.create_task(stores.of(lane)) for lane in ("messages", "logs")]
    await asked.wait()

    assert await stores.of("embeddings") is not None
    release.set()
    for one in waiting:
        with pytest.raises(StoreUnavailable):
            await one
    await stores.close()
