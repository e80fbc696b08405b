"""The connections to one server, and the script: what is sent, in bounded groups, one round trip each."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, NamedTuple

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from penstock.stores.errors import BadStoreURL, StoreUnavailable
from penstock.stores.redis.layout import FIELDS, Layout, fields_of, row_of
from penstock.stores.redis.settings import RedisSettings
from penstock.stores.redis.translation import store_error, translated
from penstock.stores.states import Key
from penstock.wire.connections import use_own_errors
from penstock.wire.ids import wall_clock_us
from penstock.wire.records import KeyValue

_AT_ONCE = 500
"""Keys of one round trip, and names that one step of a scan looks at: half a millisecond of the server."""

_REPLACE = files("penstock.stores.redis").joinpath("lua/replace.lua").read_text("utf-8")
_SHA = hashlib.sha1(_REPLACE.encode(), usedforsecurity=False).hexdigest()


OLDER = "<"
"""In place of a stamp: whatever row is there, if it is older."""


class Change(NamedTuple):
    """One row that shall be another one."""

    key: Key
    stamp: str
    """Of the row that was read, in hex; empty where there was none."""
    row: KeyValue


class Client:
    """See `RedisKeyValues`. Belongs to the loop that uses it first."""

    def __init__(self, settings: RedisSettings) -> None:
        """Raises `BadStoreURL` for what the driver does not understand."""
        self._settings = settings
        self._layout = Layout(settings.prefix)
        self._closed = False
        try:
            # No retries below us: the callers know what repeating means, and how long to wait.
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                settings.url,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                max_connections=settings.connections,
                timeout=settings.timeout,
                socket_timeout=settings.timeout,
                socket_connect_timeout=settings.timeout,
            )
            pool.connection_class(**pool.connection_kwargs)  # opens nothing, but looks at every option
        except (ValueError, TypeError) as exc:
            raise BadStoreURL(f"{settings.where} is no URL of a Redis server: {exc}") from exc
        use_own_errors(pool)
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._trips: set[asyncio.Future[Any]] = set()

    async def ping(self) -> None:
        """Answer, or raise `StoreUnavailable`."""
        await self._through(self._redis.ping)

    async def close(self) -> None:
        """Finish what is under way, then close every connection. Later calls are refused."""
        self._closed = True
        if self._trips:
            await asyncio.wait(self._trips)
        with translated(self._settings.where):
            await self._redis.aclose()

    async def values(self, keys: Sequence[Key]) -> dict[Key, KeyValue]:
        """The values that are there under *keys*."""
        return await self._read(keys, [self._layout.value])

    async def rows(self, keys: Sequence[Key]) -> dict[Key, KeyValue]:
        """The rows of *keys*: values, and what remains of those that are gone."""
        return await self._read(keys, [self._layout.gone, self._layout.value])

    async def replace(self, changes: Sequence[Change]) -> list[Change]:
        """Make *changes*, in order, each by itself. Returns those before which another row was there."""
        missed: list[Change] = []
        for at in range(0, len(changes), _AT_ONCE):
            some = changes[at : at + _AT_ONCE]
            missed += [change for change, kept in zip(some, await self._replace_some(some), strict=True) if not kept]
        return missed

    async def keys(self, namespace: str, prefix: str) -> AsyncIterator[list[Key]]:
        """The keys with a value that begin with *prefix*, some at a time, in any order; one may come twice.

        The server walks all of its keys, in short steps between which it serves others.
        """
        pattern, cursor = self._layout.pattern(namespace, prefix), -1
        while cursor != 0:
            cursor, names = await self._through(
                partial(self._redis.scan, max(cursor, 0), match=pattern, count=_AT_ONCE)
            )
            if names:
                yield [self._layout.key_in(name) for name in names]

    async def _read(self, keys: Sequence[Key], places: Sequence[Callable[[Key], str]]) -> dict[Key, KeyValue]:
        """The rows that lie under *keys* in *places*; where in several, that of the last one."""
        found: dict[Key, KeyValue] = {}
        for at in range(0, len(keys), _AT_ONCE):
            asked = [(key, place(key)) for key in keys[at : at + _AT_ONCE] for place in places]
            replies = await self._asked([name for _, name in asked])
            for (key, _), reply in zip(asked, replies, strict=True):
                if (row := row_of(key, reply)) is not None:
                    found[key] = row
        return found

    async def _asked(self, names: Sequence[str]) -> list[Any]:
        if len(names) == 1:  # without a pipeline, which takes half as long again
            return [await self._through(partial(self._redis.execute_command, "HMGET", names[0], *FIELDS))]
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hmget(name, FIELDS)
        return self._sound(await self._through(partial(pipe.execute, raise_on_error=False)))

    async def _replace_some(self, changes: Sequence[Change]) -> list[Any]:
        replies = await self._run(changes)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            await self._through(partial(self._redis.script_load, _REPLACE))
            # Those that were made are missed now, and found newer when they are read again.
            replies = await self._run(changes)
        return self._sound(replies)

    async def _run(self, changes: Sequence[Change]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for key, stamp, row in changes:
            names = self._layout.value(key), self._layout.gone(key)
            pipe.execute_command("EVALSHA", _SHA, 2, *names, stamp, *self._arguments(row))
        replies: list[Any] = await self._through(partial(pipe.execute, raise_on_error=False))
        return replies

    def _sound(self, replies: list[Any]) -> list[Any]:
        """*replies*, none of which is an error. The client's own error would quote the commands."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise store_error(reply, self._settings.where) from reply
        return replies

    def _arguments(self, row: KeyValue) -> list[Any]:
        """See `lua/replace.lua`."""
        fields = fields_of(row)
        flat = [part for field in fields.items() for part in field]
        rest = [part for name, value in fields.items() if name != "value" for part in (name, value)]
        head = [fields["stamp"], fields["created"]]
        is_deleted = row.deleted_at_us is not None
        ends = None if is_deleted else row.expires_at_us
        if not is_deleted and ends is None:
            return [*head, "", "", len(flat), *flat]
        left_ms = 0 if ends is None else max(0, (ends - wall_clock_us()) // 1000)
        grace_ms = left_ms + round(self._settings.grace * 1000)
        # Up: a value that has less than a millisecond to live is there for it.
        at_ms = "" if ends is None else -(-ends // 1000)
        return [*head, at_ms, grace_ms, 0 if is_deleted else len(flat), *([] if is_deleted else flat), *rest]

    async def _through(self, trip: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to one round trip. It goes on where its caller is cancelled: a connection with answers that nobody
        has read would give them to the next one."""
        if self._closed:
            raise StoreUnavailable(f"the store at {self._settings.where} is closed")
        task = asyncio.ensure_future(trip())
        self._trips.add(task)
        task.add_done_callback(self._trips.discard)
        task.add_done_callback(_looked_at)
        with translated(self._settings.where):
            return await asyncio.shield(task)


def _looked_at(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()  # or the loop would tell of one whose caller was cancelled
