"""A store that is opened, and set up, when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from penstock.stores.contract import Store
from penstock.stores.errors import StoreUnavailable
from penstock.wire.tasks import end_task

_AnyStore = TypeVar("_AnyStore", bound=Store)


class Opening(Generic[_AnyStore]):
    """One store. What opens it is called on a thread, where it may load a driver while the event loop runs."""

    def __init__(self, open_: Callable[[], _AnyStore], *, migrate: bool) -> None:
        self._open = open_
        self._migrate = migrate
        self._store: _AnyStore | None = None
        self._begun: asyncio.Task[_AnyStore] | None = None

    async def ready(self) -> _AnyStore:
        """The store, ready to be used. Raises as `Store.setup` does; a driver that cannot be loaded is unavailable."""
        begun = self._begun
        if begun is None or (begun.done() and (begun.cancelled() or begun.exception())):
            begun = self._begun = asyncio.create_task(self._begin())
        # Shared by all who wait for it, and not cancelled with one of them.
        return await asyncio.shield(begun)

    async def _begin(self) -> _AnyStore:
        if self._store is None:
            self._store = await asyncio.to_thread(self._opened)
        await self._store.setup(migrate=self._migrate)
        return self._store

    def _opened(self) -> _AnyStore:
        try:
            return self._open()
        except Exception as exc:  # a driver that breaks while it is loaded may raise anything
            raise StoreUnavailable(f"the store cannot be opened: {type(exc).__name__}: {exc}") from exc

    async def close(self) -> None:
        """Close it, if it was opened. A driver that is being loaded is not waited for."""
        if self._store is not None:
            await self._store.close()
        elif self._begun is not None:
            await end_task(self._begun)
