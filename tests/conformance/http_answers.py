"""A small HTTP/1.1 server over a real socket, for stand-ins of services that cannot run here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import orjson


class Request(NamedTuple):
    """What a client asks."""

    method: str
    path: str
    """As it was sent, without the query."""
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def segments(self) -> list[str]:
        """The parts of the path, decoded."""
        return [unquote(each) for each in self.path.split("/")[1:]]

    def json(self) -> Any:
        return orjson.loads(self.body) if self.body else {}


class Answer(NamedTuple):
    """What it is told."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}


@contextlib.asynccontextmanager
async def answering(answer: Callable[[Request], Answer]) -> AsyncIterator[int]:
    """The port of this machine where *answer* is asked."""
    connections: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            while (request := await _read(reader)) is not None:
                writer.write(_written(answer(request)))
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=64 * 1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    return Request(method, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, body)


def _written(answer: Answer) -> bytes:
    body = b"" if answer.body is None else orjson.dumps(answer.body)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Status\r\n{head}\r\n".encode() + body
