"""Any function as an embedder."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FunctionEmbedder:
    """*function* takes a list of texts and returns their vectors: an array, or a list of lists.

    A plain function runs in a thread, one call at a time, since most models are not safe for several; a coroutine
    function is awaited. What it raises means that the same texts are tried again later; it may raise
    `EmbedderRejected` for a text that it will never take.
    """

    def __init__(
        self, function: Callable[[list[str]], Any | Awaitable[Any]], *, name: str = "", batch_size: int = 64
    ) -> None:
        self._function = function
        self._name = name or f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', function)}"
        self._batch_size = batch_size
        self._turn = asyncio.Lock()
        # Of an object that is called, its method tells.
        self._is_awaited = any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))

    @property
    def name(self) -> str:
        """See `Embedder.name`. Without one given: where the function comes from."""
        return self._name

    @property
    def batch_size(self) -> int:
        """See `Embedder.batch_size`."""
        return self._batch_size

    async def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """See `Embedder.embed`. The thread of a cancelled call goes on, and the next call waits for it."""
        if self._is_awaited:
            return np.asarray(await self._function(list(texts)), dtype=np.float32)
        return await asyncio.shield(asyncio.ensure_future(self._in_thread(list(texts))))

    async def _in_thread(self, texts: list[str]) -> NDArray[np.float32]:
        async with self._turn:
            return np.asarray(await asyncio.to_thread(self._function, texts), dtype=np.float32)

    async def close(self) -> None:
        """Nothing of its own to let go of."""
