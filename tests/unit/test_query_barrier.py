"""A reader waits for receipts before it asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest

from penstock.query import Reader


class LateError(Exception):
    """What a receipt raises that was not stored in time."""


@dataclass
class Receipt:
    """One of an asynchronous producer."""

    settled: asyncio.Event = field(default_factory=asyncio.Event)
    timeouts: list[float | None] = field(default_factory=list)

    async def stored(self, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)
        try:
            async with asyncio.timeout(timeout):
                await self.settled.wait()
        except TimeoutError:
            raise LateError from None


@dataclass
class BlockingReceipt:
    """One of a blocking producer."""

    settled: threading.Event = field(default_factory=threading.Event)

    def stored(self, timeout: float | None = None) -> None:
        if not self.settled.wait(timeout):
            raise LateError


async def test_a_reader_is_entered_when_all_receipts_are_stored() -> None:
    one, other = Receipt(), BlockingReceipt()
    reader = Reader.open(sql="memory://", after=[one, other])
    entering = asyncio.create_task(reader.__aenter__())

    one.settled.set()
    done, _ = await asyncio.wait([entering], timeout=0.05)
    assert not done
    other.settled.set()

    assert await entering is reader
    assert await reader.messages("s") is not None
    await reader.close()


async def test_a_reader_without_receipts_waits_for_nothing() -> None:
    async with Reader.open(sql="memory://", after=None, timeout=0) as reader:
        assert await reader.after() is reader


async def test_a_single_receipt_needs_no_list() -> None:
    receipt = Receipt()
    receipt.settled.set()

    async with Reader.from_env({"PENSTOCK_SQL_URL": "memory://"}, after=receipt):
        assert receipt.timeouts == [pytest.approx(30, abs=1)]


@pytest.mark.parametrize("kind", [Receipt, BlockingReceipt])
async def test_what_a_receipt_raises_reaches_the_caller(kind: type[Receipt | BlockingReceipt]) -> None:
    with pytest.raises(LateError):
        async with Reader.open(sql="memory://", after=kind(), timeout=0.01):
            pytest.fail("the reader was entered")


async def test_the_time_is_for_all_receipts_together() -> None:
    first, second = Receipt(), Receipt()
    reader = Reader.open(sql="memory://")
    waiting = asyncio.create_task(reader.after(first, second, timeout=60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    first.settled.set()
    second.settled.set()
    await waiting

    (given,), (left,) = first.timeouts, second.timeouts
    assert given is not None
    assert left is not None
    assert 0 < left < given <= 60


async def test_no_limit_is_no_limit() -> None:
    receipt = Receipt()
    receipt.settled.set()

    await Reader.open(sql="memory://").after(receipt, timeout=None)

    assert receipt.timeouts == [None]


async def test_a_receipt_that_gives_an_awaitable_is_awaited() -> None:
    inner = Receipt()

    class Wrapped:
        def stored(self, timeout: float | None = None) -> Awaitable[None]:
            return inner.stored(timeout)

    with pytest.raises(LateError):
        async with Reader.open(sql="memory://", after=Wrapped(), timeout=0.01):
            pass
