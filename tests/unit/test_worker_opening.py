"""A store is opened on a thread, once, for all who need it; a driver that breaks there makes it unavailable."""

from __future__ import annotations

import asyncio
import threading

import pytest

from penstock.stores.errors import StoreUnavailable
from penstock.stores.memory.vectors import MemoryVectors
from penstock.stores.registry import vector_store
from penstock.stores.vector_contract import VectorStore
from penstock.worker.opening import Opening


class Driver:
    """Takes until it is let go to load; breaks as long as `fault` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.fault: Exception | None = None
        self.under_way = threading.Event()
        self.let_go = threading.Event()

    def open(self) -> VectorStore:
        self.calls += 1
        self.under_way.set()
        assert self.let_go.wait(20)
        if self.fault:
            raise self.fault
        return vector_store("memory://")


async def test_the_loop_goes_on_and_one_load_is_for_all_who_wait() -> None:
    driver = Driver()
    opening = Opening(driver.open, migrate=True)
    waiting = [asyncio.create_task(opening.ready()) for _ in range(3)]
    await asyncio.to_thread(driver.under_way.wait, 20)  # and the loop that waits here runs meanwhile
    waiting[0].cancel()
    driver.let_go.set()

    one, other = await asyncio.gather(*waiting[1:])

    assert isinstance(one, MemoryVectors)
    assert one is other is await opening.ready()
    assert waiting[0].cancelled()
    assert driver.calls == 1
    await opening.close()


@pytest.mark.parametrize("fault", [ModuleNotFoundError("No module named 'x'"), OSError("libx.so: wrong ELF class")])
async def test_a_driver_that_cannot_be_loaded_is_away_until_it_can(fault: Exception) -> None:
    """Law 7: its lane pauses, and goes on by itself."""
    driver = Driver()
    driver.fault = fault
    driver.let_go.set()
    opening = Opening(driver.open, migrate=True)
    with pytest.raises(StoreUnavailable, match=f"cannot be opened: {type(fault).__name__}: {fault}"):
        await opening.ready()

    driver.fault = None

    assert isinstance(await opening.ready(), MemoryVectors)
    await opening.close()


async def test_a_close_waits_for_no_driver() -> None:
    driver = Driver()
    opening = Opening(driver.open, migrate=True)
    waiting = asyncio.create_task(opening.ready())
    await asyncio.to_thread(driver.under_way.wait, 20)

    await opening.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    driver.let_go.set()


async def test_what_nobody_needed_is_not_opened_to_be_closed() -> None:
    driver = Driver()

    await Opening(driver.open, migrate=True).close()

    assert driver.calls == 0
