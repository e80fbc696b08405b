"""What the comparison asks of a task queue: take jobs in one process, run them in another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

ONE = "insert_one"
"""The job that is given a row."""
MANY = "insert_many"
"""The job that is given a list of rows."""

Send = Callable[[str, Iterable[Any]], Awaitable[None]]
"""Put a job of that name into the queue for each of these arguments."""


class Library(Protocol):
    """A task queue on Redis, set up as its documentation has it. What it may do for speed, it does."""

    @property
    def distributions(self) -> tuple[str, ...]:
        """What it is installed from."""
        ...

    @property
    def settings(self) -> str:
        """What is set, and what is not that matters here."""
        ...

    @property
    def abandoned(self) -> str:
        """When, by its own settings, a job is run again whose worker died."""
        ...

    def sending(self, url: str) -> AbstractAsyncContextManager[Send]:
        """A connection to the queue server at *url*."""
        ...

    def work(self, url: str, database: Path) -> None:
        """Run jobs that insert into *database*, until SIGTERM."""
        ...


async def spread(calls: Iterator[Awaitable[Any]], width: int) -> None:
    """Await all *calls*, so many at a time."""

    async def await_some() -> None:
        for call in calls:
            await call

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(await_some())
