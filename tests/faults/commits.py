"""A proxy before PostgreSQL that knows a COMMIT when it sees one, and has some of them end in doubt."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_COMMIT = b"COMMIT;\x00"
"""How the driver asks for it: a message of its own."""

_PIECE_BYTES = 65_536


class Fate(StrEnum):
    """What becomes of a COMMIT. Whoever asked cannot tell which it was."""

    NEVER_SENT = "never sent"
    """The connection ends before the server has heard of it."""
    ANSWER_LOST = "answer lost"
    """The server has committed, and the connection ends."""
    NO_ANSWER = "no answer"
    """The server has committed, and the connection stays as it is, without a word."""


class CommitProxy:
    """Carries connections to the server of *target*, a URL with the folder of its socket, from a port of its own."""

    def __init__(self, target: str, fate: Fate, every: int) -> None:
        self._target = urlsplit(target)
        self._fate = fate
        self._every = every
        self._commits = 0
        self._struck = 0
        self._server: asyncio.Server | None = None
        self._carriers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        if self._carriers:
            await asyncio.wait(self._carriers)

    @property
    def url(self) -> str:
        """The target's URL through the proxy."""
        if self._server is None:
            raise RuntimeError("the proxy has not started")
        port = self._server.sockets[0].getsockname()[1]
        options = [(name, value) for name, value in parse_qsl(self._target.query) if name not in ("host", "port")]
        address = f"{self._target.username}@127.0.0.1:{port}"
        return urlunsplit(("postgresql", address, self._target.path, urlencode([*options, ("sslmode", "disable")]), ""))

    async def struck(self, times: int, timeout_s: float = 60) -> None:
        """Wait until so many COMMITs have met their fate."""
        async with asyncio.timeout(timeout_s):
            while self._struck < times:
                await asyncio.sleep(0.02)

    def heal(self) -> None:
        """Let all COMMITs pass from now on."""
        self._every = 0

    async def _accept(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a callback of start_server is a task
        self._carriers.add(task)
        task.add_done_callback(self._carriers.discard)
        folder = dict(parse_qsl(self._target.query))["host"]
        server, forth = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        self._writers |= {back, forth}
        try:
            await self._carry(client, back, server, forth)
        except OSError:
            pass  # either end has gone
        finally:
            self._writers -= {back, forth}
            forth.close()
            back.close()

    async def _carry(
        self,
        client: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
    ) -> None:
        answering = asyncio.create_task(_copy(server, back))
        try:
            while data := await client.read(_PIECE_BYTES):
                if self._strikes(data):
                    await self._strike(data, client, server, forth, answering)
                    return
                forth.write(data)
                await forth.drain()
        finally:
            answering.cancel()
            await asyncio.wait([answering])

    def _strikes(self, data: bytes) -> bool:
        if not (self._every and data.endswith(_COMMIT)):
            return False
        self._commits += 1
        return self._commits % self._every == 0

    async def _strike(
        self,
        data: bytes,
        client: asyncio.StreamReader,
        server: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        answering: asyncio.Task[None],
    ) -> None:
        answering.cancel()
        await asyncio.wait([answering])
        if self._fate is not Fate.NEVER_SENT:
            forth.write(data)
            await server.read(_PIECE_BYTES)  # the answer: it is done
        self._struck += 1
        if self._fate is Fate.NO_ANSWER:
            await client.read()  # until the client gives up


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_PIECE_BYTES):
        sink.write(data)
        await sink.drain()
    sink.close()
