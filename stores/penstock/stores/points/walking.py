"""A collection by key, which engines have no order for: its points go by id, and an id is a digest."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from penstock.stores.points.engine import Engine

PAGE = 4_096
"""Keys that are read at once."""

WINDOW = 250_000
"""Keys that are kept sorted, about 25 MB. A larger collection is read from end to end once for each so many."""


class Window(NamedTuple):
    """The keys behind `after`, as far as they were looked up."""

    after: str | None
    keys: list[str]
    """Sorted."""
    is_last: bool
    """There are none behind them."""

    def is_short_of(self, limit: int) -> bool:
        """Whether a page of *limit* may have more than is here."""
        return len(self.keys) < limit and not self.is_last


class Walks:
    """What was looked up for walks that are under way, one a collection: the next page goes on in it."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def forget(self, name: str) -> None:
        """The collection was dropped: what walked it goes on in what comes after it."""
        self._windows.pop(name, None)

    async def keys(self, engine: Engine, name: str, after: str | None, limit: int) -> list[str]:
        """At most *limit* keys behind *after*. Those that came since the walk began may lack.

        Raises:
            Missing: There is no such collection.
        """
        window = self._windows.pop(name, None)
        if window is None or after is None or window.after != after or window.is_short_of(limit):
            window = await _look_up(engine, name, after, max(limit, WINDOW))
        page, rest = window.keys[:limit], window.keys[limit:]
        if rest:
            self._windows[name] = Window(page[-1], rest, window.is_last)
        return page


async def _look_up(engine: Engine, name: str, after: str | None, most: int) -> Window:
    keys: list[str] = []
    is_last, at = True, None
    while True:
        found, at = await engine.keys(name, at, PAGE)
        keys += found if after is None else [key for key in found if key > after]
        if len(keys) > 2 * most:
            keys, is_last = heapq.nsmallest(most, keys), False
        if at is None:
            is_last = is_last and len(keys) <= most
            return Window(after, heapq.nsmallest(most, keys), is_last)
