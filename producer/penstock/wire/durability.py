"""What of a producer's pushes is durable: on the server's disk, on its replicas.

What a server has synced, or sent to a replica, is always a prefix of what it has done. So one look at the last push of
each partition, a small write after it, and the server's word for that write stand for all that was pushed before.

With `appendfsync everysec` that word cannot be taken: in Redis before 8 and in Valkey (7.2 to 9.1 at the least) WAITAOF
also returns when the log is written to its file and not synced (redis/redis#13793; strace shows it). But they begin a
sync a second after the last, and say nothing while one is under way. So what was in the file is synced for sure when
WAITAOF returns for a later write, more than a second behind, and no sync was put off in between.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from penstock.wire.entries import Confirmed
from penstock.wire.errors import ConfigMismatch
from penstock.wire.keys import Partition
from penstock.wire.levels import FSYNC, REPLICATED
from penstock.wire.queue import SEEN_TTL_MS, Queue
from penstock.wire.scripts import hide_password
from penstock.wire.server import facts_of, setting_of, version_of
from penstock.wire.server_check import ServerFacts

_SYNCING_SERVER = (7, 2)
"""Oldest Redis that tells what its log has synced (WAITAOF)."""

_TRUSTED_SERVER = (8, 0)
"""Oldest Redis that tells the truth with `everysec`. A Valkey says it is Redis 7.2."""

_FSYNC_PATIENCE_MS = 5_000
"""With `everysec` a sync comes within a second; a disk that stalls delays it."""
_REPLICA_PATIENCE_MS = 1_000
"""Answers of replicas take a round trip; one that is away is not worth waiting for."""

_SETTLED_S = 1.2
"""A sync that is due after a second has begun by then, also where the server's timer ticks ten times a second."""


async def refuse_unsyncing(queue: Queue, levels: int) -> None:
    """Look whether the server can do what *levels* need.

    Raises:
        ConfigMismatch: It never will, as it is set up.
        QueueUnavailable: No answer.
    """
    if not levels & FSYNC:
        return
    fault = fault_of(await facts_of(queue.scripts))
    if fault:
        where = hide_password(queue.scripts.url)
        raise ConfigMismatch(
            f"durability fsync: the queue server at {where} {fault}, or set durability to fast (PENSTOCK_DURABILITY)"
        )


def fault_of(facts: ServerFacts) -> str:
    """Why such a server cannot confirm what its disk has; empty where it can."""
    if facts.version < _SYNCING_SERVER:
        version = ".".join(map(str, facts.version))
        return f"is {version}; Redis {'.'.join(map(str, _SYNCING_SERVER))} or any Valkey is needed"
    if facts.aof is False:
        return "has appendonly no; set it to yes"
    if facts.appendfsync == "no":
        return "has appendfsync no and syncs when it likes; set it to everysec or always"
    if facts.no_appendfsync_on_rewrite == "yes":
        return "has no-appendfsync-on-rewrite yes and does not sync while it rewrites its log; set it to no"
    return ""


class _Heard(NamedTuple):
    """What the server said, all on one connection."""

    seen: dict[Partition, int]
    synced: bool = False
    """Its word that what it has is on its disk."""
    trusted: bool = False
    """Whether that word can be taken."""
    run_id: str = ""
    delayed: int = 0
    """How often it has put off a sync because the disk was slow."""
    replicas: int = 0
    """How many have what it has."""


class _Mark(NamedTuple):
    """What the server had written to its log's file at some time, by its word."""

    at_s: float
    seen: Mapping[tuple[Partition, str], int]


class Confirmer:
    """Asks the server, for one producer. One question at a time."""

    def __init__(self, queue: Queue, replicas: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._replicas = replicas
        self._now_s = now_s
        self._marks: deque[_Mark] = deque()
        self._life: tuple[str, int] = "", 0

    async def confirm(self, producers: Mapping[Partition, str], levels: int) -> Confirmed:
        """The last push of a producer that each partition has, and up to which one each of *levels* holds.

        Waits some seconds at most, on a connection of its own.

        Raises:
            QueueUnavailable: No answer.
            QueueRejected: The server cannot do what is asked for, as it is set up now.
        """
        asked_at_s = self._now_s()
        heard = await self._ask(producers, levels)
        kept: dict[int, Mapping[Partition, int]] = {}
        missing = []
        if levels & FSYNC:
            kept[FSYNC] = self._synced(heard, producers, asked_at_s)
            if not heard.synced:
                missing.append(f"its disk has not synced for {_FSYNC_PATIENCE_MS / 1000:g} s")
        if levels & REPLICATED:
            enough = heard.replicas >= self._replicas
            kept[REPLICATED] = heard.seen if enough else {}
            if not enough:
                missing.append(
                    f"{heard.replicas} of {self._replicas} replicas have answered; start more, or set replicas or "
                    f"durability lower"
                )
        return Confirmed(
            heard.seen, kept, f"the queue server has the records, but {', '.join(missing)}" if missing else ""
        )

    async def _ask(self, producers: Mapping[Partition, str], levels: int) -> _Heard:
        with self._queue.scripts.translated():
            async with self._queue.client.pipeline(transaction=False) as pipe:
                for where, producer_id in producers.items():
                    seen = self._queue.keys.seen(where, producer_id)
                    pipe.get(seen)
                    # The write that the server is asked about. A full server takes it too.
                    pipe.pexpire(seen, SEEN_TTL_MS)
                if levels & FSYNC:
                    pipe.execute_command("WAITAOF", 1, 0, _FSYNC_PATIENCE_MS)
                    pipe.info("server")
                    pipe.info("persistence")
                    pipe.execute_command("CONFIG GET", "appendfsync")
                if levels & REPLICATED:
                    pipe.execute_command("WAIT", self._replicas, _REPLICA_PATIENCE_MS)
                replies = await pipe.execute(raise_on_error=False)
            numbers, answers = replies[: 2 * len(producers)], replies[2 * len(producers) :]
            config = answers.pop(3) if levels & FSYNC else None
            for reply in [*numbers, *answers]:
                if isinstance(reply, Exception):
                    raise reply
        heard = _Heard({where: _number(seen) for where, seen in zip(producers, numbers[::2], strict=True)})
        if levels & FSYNC:
            heard = _with_word(heard, answers, config)
        return heard._replace(replicas=answers[-1]) if levels & REPLICATED else heard

    def _synced(self, heard: _Heard, producers: Mapping[Partition, str], asked_at_s: float) -> Mapping[Partition, int]:
        """Up to which push of each partition the disk has them all."""
        if heard.trusted:
            return heard.seen if heard.synced else {}
        life = heard.run_id, heard.delayed
        if life != self._life:  # it was started again, or a sync was put off: what was marked may not be on the disk
            self._life = life
            self._marks.clear()
        if not heard.synced:
            return {}
        seen = {(where, producers[where]): upto for where, upto in heard.seen.items()}
        self._marks.append(_Mark(self._now_s(), seen))
        ripe_s = asked_at_s - _SETTLED_S
        while len(self._marks) > 1 and self._marks[1].at_s <= ripe_s:
            self._marks.popleft()
        mark = self._marks[0]
        if mark.at_s > ripe_s:
            return {}
        return {where: mark.seen.get((where, producer_id), 0) for where, producer_id in producers.items()}


def _with_word(heard: _Heard, answers: list[Any], config: Any) -> _Heard:
    (local, _), server, persistence = answers[:3]
    appendfsync = None if isinstance(config, ResponseError) else setting_of(config)
    return heard._replace(
        synced=bool(local),
        trusted=appendfsync == "always" or version_of(server) >= _TRUSTED_SERVER,
        run_id=str(server["run_id"]),
        delayed=int(persistence.get("aof_delayed_fsync", 0)),
    )


def _number(seen: bytes | None) -> int:
    """The number of the last push, in what the server keeps of it."""
    return int(seen.partition(b"|")[0]) if seen else 0
