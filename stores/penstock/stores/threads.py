"""Work of drivers that block, in threads: it ends though its caller is cancelled, and closing waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from penstock.stores.errors import StoreUnavailable

_T = TypeVar("_T")


class Threads:
    """The threads of one store, which is called *owner* in errors."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def run(self, work: Callable[[], _T]) -> _T:
        """What *work* returns.

        Raises:
            StoreUnavailable: `close` was called before.
        """
        if self._closed:
            raise StoreUnavailable(f"the store of {self._owner} is closed")
        task = asyncio.ensure_future(asyncio.to_thread(work))
        self._running.add(task)
        task.add_done_callback(self._settle)
        return await asyncio.shield(task)

    async def close(self, let_go: Callable[[], None]) -> None:
        """Take no more work, wait for what runs, then call *let_go* in a thread. May be repeated."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        await asyncio.to_thread(let_go)

    def _settle(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # of a call whose caller was cancelled nobody else asks
