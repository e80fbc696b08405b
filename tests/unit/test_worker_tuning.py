"""What a worker's process sets of Python, and what it does in its place."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from penstock.wire.tasks import end_task
from penstock.worker import tuning


@pytest.fixture
def python() -> Iterator[None]:
    """Python's own settings, set again afterwards."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("python")
def test_records_in_flight_bring_no_search_for_garbage() -> None:
    tuning.suit_records()
    before = [generation["collections"] for generation in gc.get_stats()]

    records = [(number, [number]) for number in range(30_000)]

    assert [generation["collections"] for generation in gc.get_stats()] == before
    assert len(records) == 30_000


class Failure(Exception):
    """Holds itself, as an error does that a frame on its way has kept."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("python")
async def test_what_failed_is_let_go_of_however_little_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tuning.suit_records()
    monkeypatch.setattr(tuning, "_COLLECT_EVERY_S", 0.001)
    gone = asyncio.Event()
    weakref.finalize(Failure(), gone.set)

    keeper = asyncio.create_task(tuning.keep_collecting())
    async with asyncio.timeout(10):
        await gone.wait()

    await end_task(keeper)
