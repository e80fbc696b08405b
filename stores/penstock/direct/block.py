"""A block that several tasks are in at a time: the first one opens, the last one that leaves closes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class SharedBlock(ABC):
    """Used by `async with`, by any number of tasks of one loop."""

    _inside = 0

    @abstractmethod
    async def open(self) -> None:
        """Open what is used inside. Does nothing when it is open."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything. May be repeated."""

    async def __aenter__(self) -> Self:
        self._inside += 1
        try:
            await self.open()
        except BaseException:
            await self._leave()  # an opening that failed may hold connections, and there will be no `__aexit__`
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            await self.close()
