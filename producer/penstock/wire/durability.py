"""How durable a push is before its producer forgets it: in memory, on the server's disk, on its replicas.

What a server has synced, or sent to a replica, is always a prefix of what it has done. So one look at the last push of
each partition, a small write after it, and the server's word for that write stand for all that was pushed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.wire.errors import ConfigMismatch
from penstock.wire.keys import Partition
from penstock.wire.levels import FAST, FSYNC, REPLICATED
from penstock.wire.queue import SEEN_TTL_MS, Queue
from penstock.wire.scripts import hide_password
from penstock.wire.server import facts_of

_SYNCING_SERVER = (7, 2)
"""Oldest Redis that tells what its log has synced (WAITAOF)."""

_FSYNC_PATIENCE_MS = 5_000
"""With `everysec` a sync comes within a second; a disk that stalls delays it."""
_REPLICA_PATIENCE_MS = 1_000
"""Answers of replicas take a round trip; one that is away is not worth waiting for."""


class Confirmed(NamedTuple):
    """What a server has of a producer's pushes, and what it has done to keep them."""

    numbers: dict[Partition, int]
    """The last push that each partition has seen; 0 for none."""
    done: int
    """The levels that hold for all of them."""
    missing: str
    """Why a level that was asked for does not hold; empty when all do."""


async def refuse_unsyncing(queue: Queue, levels: int) -> None:
    """Look whether the server can do what *levels* need.

    Raises:
        ConfigMismatch: It never will, as it is set up.
        QueueUnavailable: No answer.
    """
    if not levels & FSYNC:
        return
    facts = await facts_of(queue.scripts)
    if facts.version < _SYNCING_SERVER:
        version = ".".join(map(str, facts.version))
        fault = f"is {version}; Redis {'.'.join(map(str, _SYNCING_SERVER))} or any Valkey is needed"
    elif facts.aof is False:
        fault = "has appendonly no; set it to yes"
    elif facts.appendfsync == "no":
        fault = "has appendfsync no and syncs when it likes; set it to everysec or always"
    else:
        return
    raise ConfigMismatch(
        f"durability fsync: the queue server at {hide_password(queue.scripts.url)} {fault}, or set durability to fast"
    )


async def confirm(
    queue: Queue, producer_id: str, partitions: Sequence[Partition], levels: int, replicas: int
) -> Confirmed:
    """What the server has of a producer's pushes to *partitions*, once that is as durable as *levels* say.

    Waits some seconds at most, on a connection of its own.

    Raises:
        QueueUnavailable: No answer.
        QueueRejected: It cannot do what is asked for, as it is set up now.
    """
    with queue.scripts.translated():
        async with queue.client.pipeline(transaction=False) as pipe:
            for where in partitions:
                seen = queue.keys.seen(where, producer_id)
                pipe.get(seen)
                # The write that the server is asked about. A full server takes it too.
                pipe.pexpire(seen, SEEN_TTL_MS)
            if levels & FSYNC:
                pipe.execute_command("WAITAOF", 1, 0, _FSYNC_PATIENCE_MS)
            if levels & REPLICATED:
                pipe.execute_command("WAIT", replicas, _REPLICA_PATIENCE_MS)
            replies = await pipe.execute()
    numbers = {where: number_of(seen) for where, seen in zip(partitions, replies[::2], strict=False)}
    return _judged(numbers, replies[2 * len(partitions) :], levels, replicas)


def _judged(numbers: dict[Partition, int], answers: list[Any], levels: int, replicas: int) -> Confirmed:
    done, missing = FAST, []
    if levels & FSYNC:
        if answers[0][0]:
            done |= FSYNC
        else:
            missing.append(f"its disk has not synced for {_FSYNC_PATIENCE_MS / 1000:g} s")
    if levels & REPLICATED:
        if answers[-1] >= replicas:
            done |= REPLICATED
        else:
            missing.append(f"{answers[-1]} of {replicas} replicas have answered")
    return Confirmed(numbers, done, f"the queue server has the records, but {', '.join(missing)}" if missing else "")


def number_of(seen: bytes | None) -> int:
    """The number of the last push, in what the server keeps of it."""
    return int(seen.partition(b"|")[0]) if seen else 0
