"""An event loop of our own, in a daemon thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from penstock.wire.loops import UseUvloop, new_loop

T = TypeVar("T")

_STOP_TIMEOUT_S = 5.0


class _PrivateLoop(asyncio.SelectorEventLoop):
    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> Any:
        # Not in an executor: those take no work once the interpreter exits, when the last records
        # still have to leave. Blocking is harmless here, since nobody else uses this loop.
        return socket.getaddrinfo(host, port, **hints)


class LoopThread:
    """Runs an event loop until `stop`."""

    def __init__(self, name: str, uvloop: UseUvloop = "never") -> None:
        # uvloop looks names up on threads of its own, which are there as long as the process.
        self._loop = new_loop(uvloop, _PrivateLoop)
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, action: Callable[[], None]) -> None:
        """Have the loop call *action* soon. From any thread."""
        self._loop.call_soon_threadsafe(action)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the loop and wait for its result. An interrupted wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Stop and close the loop, once what threads have it run has ended; what takes longer than 5 s is cancelled."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._thread.join(_STOP_TIMEOUT_S + 1)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        if running:  # an interrupted close, or threads that are just hearing of it
            _, late = await asyncio.wait(running, timeout=_STOP_TIMEOUT_S)
            for task in late:
                task.cancel()
        self._loop.call_soon(self._loop.stop)
