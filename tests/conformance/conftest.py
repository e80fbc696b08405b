"""A SQLite file, for the tests about it. Contract classes bring their own `store`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.stores.sqlite import SqliteStore, open_sql


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """In haste, so that a test of a lock need not wait for it."""
    store = open_sql(f"sqlite:///{path}?busy_timeout_ms=20")
    await store.setup()
    yield store
    await store.close()
