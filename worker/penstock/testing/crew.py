"""The workers and agents of a chaos run: so many are always there, whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from penstock.testing.system import Process

_LOOK_S = 0.1
_PAUSE_S = 0.3


class Crew:
    """Keeps *count* processes of one sort running."""

    def __init__(self, name: str, count: int, start: Callable[..., Process], tell: Callable[[str], None]) -> None:
        self.name = name
        self._count = count
        self._start = start
        self._tell = tell
        self._next: list[dict[str, object]] = []
        self.alive: list[Process] = []

    def fill(self) -> None:
        """Start as many as are missing."""
        while len(self.alive) < self._count:
            self.alive.append(self._start(**(self._next.pop() if self._next else {})))

    def ask(self, **options: object) -> None:
        """Have the next one started so."""
        self._next.append(options)

    async def keep_up(self) -> None:
        """Replace whoever has ended, until cancelled."""
        while True:
            for process in [each for each in self.alive if each.poll() is not None]:
                self._tell(f"  {self.name} {process.pid} has ended ({process.returncode}); another begins")
                self.alive.remove(process)
                await asyncio.sleep(_PAUSE_S)
            self.fill()
            await asyncio.sleep(_LOOK_S)

    def pick(self, chance: int) -> Process:
        """One of those that are alive."""
        return self.alive[chance % len(self.alive)]
