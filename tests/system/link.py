"""A line to the queue server that can lose what it carries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class Link:
    """Forwards everything to the server; what the server answers as long as `hearing` is set."""

    def __init__(self, server_url: str) -> None:
        self.url = ""
        self.hearing = True
        self.lost = asyncio.Event()
        """An answer was lost."""
        self._target = urlsplit(server_url)
        self._writers: set[asyncio.StreamWriter] = set()

    async def carry(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        server, forth = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {back, forth}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(client, forth, answers=False))
            group.create_task(self._pump(server, back, answers=True))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if answers and not self.hearing:
                    self.lost.set()
                else:
                    sink.write(data)
                    await sink.drain()
        sink.close()

    def aim(self, server_url: str) -> None:
        """Lead to another server from now on."""
        self._target = urlsplit(server_url)
        self.cut()

    def cut(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@contextlib.asynccontextmanager
async def linked(server_url: str) -> AsyncIterator[Link]:
    link = Link(server_url)
    async with await asyncio.start_server(link.carry, "127.0.0.1", 0) as listening:
        link.url = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"
        try:
            yield link
        finally:
            link.cut()
