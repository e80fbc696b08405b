"""The Lua scripts and the one connection they run on; the queue server's errors are translated here."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    DataError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from penstock.wire.connections import use_own_errors
from penstock.wire.errors import ConfigMismatch, PasswordRefused, PushLost, QueueFull, QueueRejected, QueueUnavailable
from penstock.wire.settings import InvalidSetting

OLDEST_SERVER = (6, 2)
"""Oldest Redis whose streams can be trimmed by id."""

_ALLOW_OOM_SINCE = 7
_SOCKET_TIMEOUT_S = 10.0

_PASSING = ("BUSY", "NOREPLICAS", "MISCONF")
"""Error words of a server that will serve again: in a long script, failing over, unable to write its disk."""
_PASSING_ERRORS = (ReadOnlyError, ClusterDownError, MasterDownError, TryAgainError)
"""The same, where the client has made a class of the word and cut it off."""


_PASSWORD = re.compile(r"(://[^:@/]*:).*@", re.DOTALL)
_QUERY_PASSWORD = re.compile(r"([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)


class Call(NamedTuple):
    """One script with what it is given."""

    script: str
    keys: Sequence[str]
    args: Sequence[Any]


@cache
def _source(name: str, allow_oom: bool) -> tuple[str, str]:
    text = resources.files("penstock.wire").joinpath("lua", f"{name}.lua").read_text()
    if allow_oom and text.startswith("-- flags: allow-oom"):
        text = f"#!lua flags=allow-oom\n{text}"
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Runs the scripts on one client. A script the server does not know is sent whole, once."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            # No retries below us: the callers know what repeating means, and how long to wait.
            self.client = redis.asyncio.Redis.from_url(
                url,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=_SOCKET_TIMEOUT_S,
                socket_connect_timeout=_SOCKET_TIMEOUT_S,
            )
        except ValueError as exc:
            raise InvalidSetting(
                f"PENSTOCK_REDIS_URL is {hide_password(url)!r}; redis://HOST:PORT/NUMBER, rediss://... or unix://PATH "
                f"is needed ({exc})"
            ) from exc
        use_own_errors(self.client.connection_pool)
        self._allow_oom = False

    async def open(self) -> None:
        """Learn the server's version.

        Raises:
            QueueUnavailable: No answer.
            ConfigMismatch: The server is older than `OLDEST_SERVER`.
        """
        with self.translated():
            info = await self.client.info("server")
        version = _version(str(info.get("redis_version", "0")))
        if version < OLDEST_SERVER:
            raise ConfigMismatch(
                f"the queue server at {hide_password(self.url)} is {info.get('redis_version')}; "
                f"Redis {'.'.join(map(str, OLDEST_SERVER))} or any Valkey is needed"
            )
        self._allow_oom = version[0] >= _ALLOW_OOM_SINCE

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()

    async def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """One script. Raises `QueueUnavailable` or `QueueFull`."""
        with self.translated():
            return await self._run(Call(script, keys, args))

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Several scripts in one round trip. A failed call's error stands in its place.

        Raises:
            QueueUnavailable: No answer; any of the calls may have taken effect.
        """
        with self.translated():
            async with self.client.pipeline(transaction=False) as pipe:
                for call in calls:
                    _, sha = _source(call.script, self._allow_oom)
                    pipe.execute_command("EVALSHA", sha, len(call.keys), *call.keys, *call.args)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            return [await self._settle(call, reply) for call, reply in zip(calls, replies, strict=True)]

    async def _settle(self, call: Call, reply: Any) -> Any:
        if isinstance(reply, NoScriptError):
            try:
                return await self._run(call)
            except ResponseError as exc:
                return _translate(exc, self.url)
        return _translate(reply, self.url) if isinstance(reply, RedisError) else reply

    async def _run(self, call: Call) -> Any:
        text, sha = _source(call.script, self._allow_oom)
        try:
            return await self.client.execute_command("EVALSHA", sha, len(call.keys), *call.keys, *call.args)
        except NoScriptError:
            return await self.client.execute_command("EVAL", text, len(call.keys), *call.keys, *call.args)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the client's errors into ours, keeping the cause."""
        try:
            yield
        except (RedisError, OSError) as exc:
            raise _translate(exc, self.url) from exc


def _translate(exc: Exception, url: str) -> Exception:
    text = str(exc)
    if "PENSTOCK_FULL" in text:
        return QueueFull(
            f"the partition holds {text.rpartition(' ')[2]} records, its backlog cap is reached; "
            f"start more workers or raise backlog_records"
        )
    if "PENSTOCK_LOST" in text:
        return PushLost(int(text.rpartition(" ")[2]))
    if text.startswith("OOM") or "'maxmemory'" in text:
        return QueueFull("the queue server has no memory left (maxmemory); start more workers or raise maxmemory")
    where = hide_password(url)
    if isinstance(exc, AuthenticationError) or "NOAUTH" in text or "WRONGPASS" in text:
        return PasswordRefused(f"the queue server at {where} refused the password; check PENSTOCK_REDIS_URL")
    passing = isinstance(exc, _PASSING_ERRORS) or text.startswith(_PASSING)
    if isinstance(exc, ResponseError | DataError) and not passing:
        return QueueRejected(f"the queue server at {where} refused the call: {text}")
    return QueueUnavailable(f"the queue server at {where} did not answer: {type(exc).__name__}: {text}")


def hide_password(url: str) -> str:
    """*url* without its secret, for logs and messages. Hides too much rather than too little."""
    # By pattern, not by parsing: a password with a raw slash makes a URL that parses, but elsewhere.
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2]) or (0,)


def text_of(value: Any) -> str:
    """A reply's bytes as text."""
    return value.decode() if isinstance(value, bytes) else cast("str", value)
