"""Connections to the queue server whose errors are the client's own, whatever the event loop."""

from __future__ import annotations

from functools import cache
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

_CLOSED = "the handler is closed"


def use_own_errors(pool: Any) -> None:
    """Have the connections that *pool*, of the Redis client, makes from now on raise nothing but the client's errors.

    uvloop raises a RuntimeError where a line that has broken is written to. The client lets it through, and to whoever
    waits for a line that is back it is a bug.
    """
    pool.connection_class = _with_own_errors(pool.connection_class)


@cache
def _with_own_errors(connection: Any) -> type[Any]:
    class Connection(connection):  # type: ignore[misc] # any of the client's: over TCP, TLS or a socket file
        async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
            try:
                await super().send_packed_command(*args, **kwargs)
            except RuntimeError as exc:
                if _CLOSED not in str(exc):
                    raise
                raise RedisConnectionError("the line was closed before a command was written") from exc

    return Connection
