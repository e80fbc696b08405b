"""Event loops that are ours to choose: uvloop's where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

T = TypeVar("T")

UseUvloop = Literal["auto", "never"]


def new_loop(
    use: UseUvloop = "auto", otherwise: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> asyncio.AbstractEventLoop:
    """An event loop of uvloop's, or what *otherwise* makes where that is missing or not wanted."""
    if use == "auto":
        try:
            import uvloop  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            pass
        else:
            return uvloop.new_event_loop()
    return otherwise()


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on such a loop: for what moves many records. To ask one question Python's own is as good."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)
