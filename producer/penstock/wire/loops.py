"""Event loops that are ours to choose, and run for long: uvloop's where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

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
