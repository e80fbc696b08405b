"""A TCP proxy that cuts, refuses, delays, or loses what it carries. Runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

_PIECE_BYTES = 65_536
_PORTS = {"redis": 6379, "postgresql": 5432, "postgres": 5432}


@dataclass(eq=False, slots=True)
class _Connection:
    """One client's, and the one to the server that was made for it."""

    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    has_lost: bool = False
    """Bytes of it are gone. A real line loses none in the middle: it must carry nothing more."""

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Stands before the server of a `redis://` or `postgresql://` URL; clients are given `url`.

    with Proxy(server.url) as proxy:
        system.settings["PENSTOCK_REDIS_URL"] = proxy.url
        ...
        with proxy.deaf():
            ...
    """

    def __init__(self, target_url: str) -> None:
        self._target = target_url
        self.url = ""
        """The target's URL, through the proxy. Known once it is started."""
        self.lost = threading.Event()
        """Something was lost since it was cleared."""
        self._delay_s = 0.0
        self._loses_answers = self._loses_requests = self._refuses = False
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._carriers: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.url = _with_address(self._target, "127.0.0.1", self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- faults ---------------------------------------------------------------------------------

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        self._run(self._cut(lambda _: True))

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Break every connection, and take no new one."""
        self._refuses = True
        self.cut()
        try:
            yield
        finally:
            self._refuses = False

    @contextlib.contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Deliver every piece that much later, both ways."""
        self._delay_s = seconds
        try:
            yield
        finally:
            self._delay_s = 0.0

    @contextlib.contextmanager
    def deaf(self) -> Iterator[None]:
        """Requests arrive and are done; the answers are lost."""
        with self._losing(requests=False):
            yield

    @contextlib.contextmanager
    def black_hole(self) -> Iterator[None]:
        """Connections are taken, and nothing comes through: what a firewall does that forgets."""
        with self._losing(requests=True):
            yield

    @contextlib.contextmanager
    def _losing(self, *, requests: bool) -> Iterator[None]:
        self._loses_answers, self._loses_requests = True, requests
        try:
            yield
        finally:
            self._run(self._hear_again())

    async def _hear_again(self) -> None:
        self._loses_answers = self._loses_requests = False
        await self._cut(lambda connection: connection.has_lost)

    # -- carrying -------------------------------------------------------------------------------

    async def _accept(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if self._refuses:
            back.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of start_server is a task
        self._carriers.add(task)
        task.add_done_callback(self._carriers.discard)
        connection = _Connection([back])
        self._connections.add(connection)
        try:
            await self._carry(connection, client, back)
        finally:
            back.close()
            self._connections.discard(connection)

    async def _carry(self, connection: _Connection, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            server, forth = await _connect(self._target)
        except OSError:
            return  # the server is away, so the client's connection ends as well
        connection.writers.append(forth)
        ways = [
            asyncio.create_task(self._pump(connection, client, forth, answers=False)),
            asyncio.create_task(self._pump(connection, server, back, answers=True)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for writer in connection.writers:
            writer.close()
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)

    async def _pump(
        self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_PIECE_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self._loses_answers if answers else self._loses_requests:
                    connection.has_lost = True
                    self.lost.set()
                else:
                    sink.write(data)
                    await sink.drain()

    async def _cut(self, which: Callable[[_Connection], bool]) -> None:
        for connection in filter(which, list(self._connections)):
            connection.cut()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut(lambda _: True)
        if self._carriers:
            await asyncio.wait(self._carriers)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["127.0.0.1"])[0]
    port = parts.port or _PORTS[parts.scheme.partition("+")[0]]
    if host.startswith("/"):  # a folder with PostgreSQL's socket
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


def _with_address(url: str, host: str, port: int) -> str:
    """*url* with another server in it; user, password and options stay."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items() if name not in ("host", "port")}
    return urlunsplit((parts.scheme, f"{user}{at}{host}:{port}", parts.path, urlencode(options), ""))
