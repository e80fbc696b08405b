"""What lies in the queue server, read by plain commands: counters, entries, dead letters."""

from __future__ import annotations

from typing import Any

import msgpack
from redis.asyncio import Redis

from penstock.testing.evidence import Balance, DeadRecord

LANES = ("messages", "logs", "embeddings", "state")

_COUNTERS = ("accepted", "stored", "skipped", "pending", "buffered", "dead", "purged")


async def queue_seen(url: str, namespace: str) -> tuple[list[DeadRecord], dict[str, Balance]]:
    """Every dead letter of a namespace, and each partition's counters beside what lies there."""
    client = Redis.from_url(url)
    try:
        partitions = int(await client.hget(f"{namespace}:config", "partitions") or 0)
        letters: list[DeadRecord] = []
        balances: dict[str, Balance] = {}
        for lane in LANES:
            for number in range(partitions):
                prefix = f"{namespace}:{{{lane}:{number}}}"
                found = [_letter(f"{lane}:{number}", entry) for _, entry in await client.xrange(f"{prefix}:dead")]
                letters += found
                balances[f"{lane}:{number}"] = await _balance(client, prefix, sum(each.counts_for for each in found))
        return letters, balances
    finally:
        await client.aclose()


async def _balance(client: Any, prefix: str, in_letters: int) -> Balance:
    counted = await client.hmget(f"{prefix}:meta", _COUNTERS)
    in_log = sum(int(entry[b"n"]) for _, entry in await client.xrange(f"{prefix}:log"))
    return Balance(
        **{name: int(each or 0) for name, each in zip(_COUNTERS, counted, strict=True)},
        in_log=in_log,
        in_letters=in_letters,
    )


def _letter(partition: str, entry: dict[bytes, bytes]) -> DeadRecord:
    envelope = msgpack.unpackb(entry[b"e"])
    kind, fields = _record(entry[b"r"], envelope.get("kind"))
    record_id = entry[b"i"].decode()
    return DeadRecord(partition, record_id, kind, fields, int(entry[b"n"]), str(envelope.get("reason", "")))


def _record(packed: bytes, why: str | None) -> tuple[int, tuple[Any, ...]]:
    if why == "undecodable":
        return 0, ()
    kind, *fields = msgpack.unpackb(packed, strict_map_key=False)
    return int(kind), tuple(fields)
