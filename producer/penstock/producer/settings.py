"""How a producer buffers, sends and gives up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from penstock.wire import compression, strategies
from penstock.wire.compression import Compression
from penstock.wire.levels import Durability, level_of
from penstock.wire.loops import UseUvloop
from penstock.wire.server_check import ServerCheck
from penstock.wire.settings import InvalidSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """Every field is an environment variable `PENSTOCK_<NAME>`."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """The queue server: `redis://`, `rediss://` or `unix://`. `REDIS_URL` is read too."""

    namespace: str = "penstock"
    """Prefix of every key. Producers and workers of one system share it."""

    partitions: int | None = None
    """Logs of each lane. Fixed by the first process of a namespace; none takes what is there, or 8."""

    linger_ms: float = 5
    """A record waits this long for others to travel with. 0 sends as soon as the loop turns."""

    buffer_records: int = 100_000
    """Most records in memory that the queue has not confirmed."""

    buffer_bytes: int = 64 * 1024 * 1024
    """Most encoded bytes of them. Python's own objects add about 200 bytes a record."""

    overflow: Literal["block", "drop", "raise"] = "block"
    """What a call does when the buffer is full.

    `raise` raises `BufferFull`. `drop` does not take the record: counted, logged, and its receipt says so.
    `block` makes `BlockingProducer` wait. `Producer`'s plain calls cannot wait: `await producer.ready()`
    before them does, and a call on a full buffer raises `BufferFull`.
    """

    block_timeout_s: float = 30
    """`block` waits this long for room, then raises `BufferFull`."""

    backlog_records: int = 1_000_000
    """A partition whose log holds this many records takes no more until workers have drained some."""

    close_timeout_s: float = 10
    """Closing waits this long for the queue to take what is left; with a spool, not for a queue that is away."""

    spool_dir: str = ""
    """Folder for what the queue does not take: when it is away, full or slow, records go there, and from there to it
    when it is back. Empty for none. Each queue server needs one of its own on a machine."""

    spool_bytes: int = 1024 * 1024 * 1024
    """Most bytes of records that a producer keeps there. Beyond they stay in the buffer, and `overflow` decides."""

    spool_after_ms: float = 1_000
    """A record goes there when the queue has taken nothing of its partition for this long."""

    retry_base_ms: float = 50
    """Wait after the first failed push; doubles with every further one."""

    retry_cap_ms: float = 2_000
    """Longest wait between two tries."""

    durability: Durability = "fast"
    """When a record is queued, so that the producer forgets its own copy.

    `fast`: the queue server has it in memory. `fsync`: it has synced it to its disk. `replicated`: so many of its
    *replicas* have it too. `producer.at("fsync")` says so for single calls.
    """

    replicas: int = 1
    """How many replicas of the queue server must have what is `replicated`."""

    server_check: ServerCheck = "refuse"
    """A queue server that evicts, or keeps nothing on disk, is refused at the start; `warn` only says so."""

    memory_gate: float = 0.7
    """Above this share of the queue server's `maxmemory` nothing more is sent, until 0.05 less are used. 0: never."""

    strategy: str = "default"
    """What is stored, and how: `default`, `verbose`, `minimal`, `mask`, or `my_package.module:object`; several with
    commas between. `docs/strategies.md` tells what each does."""

    strategy_at: Literal["worker", "producer"] = "worker"
    """Who applies it: the worker before it stores, or the producer before it sends. The text of streams, which is whole
    at the worker alone, is left to the worker in any case."""

    compression: Compression = "none"
    """`zstd` compresses frames above 1 KB, where the queue server is short of memory or the line to it thin. It needs
    the extra `zstd`. A worker of 0.1 cannot read them: they wait until it is upgraded."""

    uvloop: UseUvloop = "auto"
    """`auto`: the event loop that `BlockingProducer` runs is uvloop's where it is installed. `never`: Python's own. The
    loop of `Producer` is the program's."""

    def __post_init__(self) -> None:
        strategies.check(self.strategy)
        if self.compression == "zstd" and not compression.is_installed():
            raise InvalidSetting(f"compression is zstd, and zstandard is not installed; {compression.REMEDY}")
        level_of(self.durability)
        for name in ("buffer_records", "buffer_bytes", "backlog_records", "spool_bytes"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("linger_ms", "block_timeout_s", "close_timeout_s", "retry_base_ms", "spool_after_ms"):
            if not getattr(self, name) >= 0:
                raise InvalidSetting(f"{name} is {getattr(self, name)}; at least 0 is needed")
        if self.replicas < 1:
            raise InvalidSetting(f"replicas is {self.replicas}; at least 1 is needed")
        if not 0 <= self.memory_gate <= 1:
            raise InvalidSetting(f"memory_gate is {self.memory_gate}; a share from 0 (never) to 1 is needed")
        if self.retry_base_ms > self.retry_cap_ms:
            raise InvalidSetting(
                f"retry_base_ms ({self.retry_base_ms}) must not be above retry_cap_ms ({self.retry_cap_ms})"
            )


def settings_for(settings: ProducerSettings | None, url: str | None, namespace: str | None) -> ProducerSettings:
    """*settings*, or the defaults, with what is given beside them."""
    chosen = settings or ProducerSettings()
    return replace(chosen, redis_url=url or chosen.redis_url, namespace=namespace or chosen.namespace)
