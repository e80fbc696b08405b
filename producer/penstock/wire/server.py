"""What the queue server tells of itself: how it keeps what it is given, and how full it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from penstock.wire.errors import ConfigMismatch
from penstock.wire.logs import logger
from penstock.wire.scripts import Scripts, hide_password, text_of
from penstock.wire.server_check import ServerCheck, ServerFacts, verdict_on


class Memory(NamedTuple):
    """How much memory a server uses, and how much it may. In bytes; a limit of 0 is none."""

    used: int
    limit: int


async def facts_of(scripts: Scripts) -> ServerFacts:
    """What the server tells of itself. Raises `QueueUnavailable`."""
    with scripts.translated():
        async with scripts.client.pipeline(transaction=False) as pipe:
            for section in ("server", "memory", "persistence"):
                pipe.info(section)
            for name in ("appendfsync", "no-appendfsync-on-rewrite", "save"):
                pipe.execute_command("CONFIG GET", name)
            server, memory, persistence, *settings = await pipe.execute(raise_on_error=False)
        for reply in (server, memory, persistence):
            if isinstance(reply, Exception):
                raise reply
    appendfsync, on_rewrite, save = (setting_of(reply) for reply in settings)
    return ServerFacts(
        version=version_of(server),
        maxmemory=int(memory.get("maxmemory", 0)),
        policy=memory.get("maxmemory_policy"),
        aof=bool(persistence["aof_enabled"]) if "aof_enabled" in persistence else None,
        appendfsync=appendfsync,
        no_appendfsync_on_rewrite=on_rewrite,
        save=save,
    )


def version_of(server: Mapping[str, Any]) -> tuple[int, ...]:
    """The version in the server's part of INFO; a Valkey tells the Redis that it can stand for."""
    return tuple(int(part) for part in re.findall(r"\d+", str(server.get("redis_version", "0")))[:2])


def setting_of(reply: Any) -> str | None:
    """The value in the answer to CONFIG GET; None where it was refused or is empty."""
    if isinstance(reply, ResponseError):
        return None
    if isinstance(reply, Exception):
        raise reply
    values = list(reply.values()) if isinstance(reply, dict) else reply[1:]
    return text_of(values[0]) if values else None


async def memory_of(scripts: Scripts) -> Memory:
    """How full the server is. Raises `QueueUnavailable`."""
    with scripts.translated():
        info = await scripts.client.info("memory")
    return Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))


async def check_server(scripts: Scripts, mode: ServerCheck) -> None:
    """Say what may cost records on this server.

    Raises:
        ConfigMismatch: *mode* is `refuse`, and the server evicts or keeps nothing on disk.
        QueueUnavailable: No answer.
    """
    if mode == "off":
        return
    verdict = verdict_on(await facts_of(scripts))
    where = hide_password(scripts.url)
    if verdict.faults and mode == "refuse":
        raise ConfigMismatch(
            f"the queue server at {where} cannot be trusted with records: {'. And '.join(verdict.faults)}; "
            f"or set server_check to warn (PENSTOCK_SERVER_CHECK=warn)"
        )
    for what in [*verdict.faults, *verdict.cautions]:
        logger("penstock.queue").warning("queue server may lose records", server=where, reason=what)
