"""Connections to the queue server under uvloop."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from penstock.wire.scripts import Scripts


async def write_to_a_closed_line() -> None:
    async def listen(requests: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        await requests.read()
        answers.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        scripts = Scripts(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        connection = scripts.client.connection_pool.make_connection()
        await connection._connect()
        connection._writer.close()
        try:
            await connection.send_command("PING")
        finally:
            await connection.disconnect(nowait=True)
            await scripts.close()


def test_a_line_that_was_closed_under_uvloop_raises_the_clients_own_error() -> None:
    loop = uvloop.new_event_loop()
    try:
        with pytest.raises(RedisConnectionError, match="closed"):
            loop.run_until_complete(write_to_a_closed_line())
    finally:
        loop.close()
