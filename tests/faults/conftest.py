"""A whole system for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.testing.system import System


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> Iterator[System]:
    whole = System(tmp_path, queue_server)
    try:
        yield whole
    finally:
        whole.stop()
