"""How a worker drains, merges and gives up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock.wire import strategies
from penstock.wire.loops import UseUvloop
from penstock.wire.server_check import ServerCheck
from penstock.wire.settings import InvalidSetting

_AT_LEAST_ONE = (
    "lease_ms",
    "slice_ms",
    "drain_linger_ms",
    "batch_records",
    "batch_bytes",
    "poll_ms",
    "backoff_base_ms",
    "stream_timeout_ms",
    "stream_open_max",
    "tombstone_days",
    "probe_cap_ms",
    "breaker_window",
)

_NOT_NEGATIVE = (
    "index_every_ms",
    "upkeep_every_s",
    "retain_messages_days",
    "retain_logs_days",
    "retain_tasks_days",
    "retain_dead_days",
    "breaker_run",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Every field is an environment variable `PENSTOCK_<NAME>`."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """The queue server: `redis://`, `rediss://` or `unix://`. `REDIS_URL` is read too."""

    namespace: str = "penstock"
    """Prefix of every key. Producers and workers of one system share it."""

    partitions: int | None = None
    """Logs of each lane. Fixed by the first process of a namespace; none takes what is there, or 8."""

    server_check: ServerCheck = "refuse"
    """A queue server that evicts, or keeps nothing on disk, is refused at the start; `warn` only says so."""

    sql_url: str = "sqlite:///./penstock.db"
    """Where messages and logs end. `DATABASE_URL` is read too."""

    vector_url: str = "lancedb:///./vectors"
    """Where embeddings end."""

    key_value_url: str = ""
    """Where values under keys end: `redis://`, `dbm:///`, or a SQL database. None: where the other state does."""

    embedder: str | None = None
    """Makes vectors of texts that come without one: `openai:text-embedding-3-small`, `https://host/v1?model=name`,
    `sentence-transformers:all-MiniLM-L6-v2`, or `my_package.module:name`. None: such records become dead letters."""

    embedder_key: str | None = None
    """The key of an embedder behind HTTP. `OPENAI_API_KEY` is read too."""

    migrate: bool = True
    """Bring the SQL store's schema up to date at the start. False leaves that to `penstock migrate`: a schema of the
    release before will do until then, but what it has no place for waits."""

    lease_ms: int = 10_000
    """A worker that dies is replaced after this long."""

    slice_ms: int = 5_000
    """A drain gives its partition back after this long, so that workers can share."""

    drain_linger_ms: int = 200
    """A drain with an empty log waits this long for more before it gives its partition back."""

    batch_records: int = 8_000
    """Most records of one transaction."""

    batch_bytes: int = 4 * 1024 * 1024
    """Most frame bytes of one transaction, unless one frame is larger."""

    poll_ms: int = 200
    """How often arq looks for jobs. New records are not kept waiting, their rings start a job at once; a job that one
    worker had to leave to others is. 50 costs an idle worker 1 % of a core more."""

    backoff_base_ms: int = 200
    """Wait after the first failure of a partition alone; doubles with every further one."""

    backoff_cap_ms: int = 30_000
    """Longest wait between two tries of such a partition."""

    probe_cap_ms: int = 2_000
    """Longest wait between two probes of a store that is away; the first comes after 100 ms. Its lane pauses until one
    succeeds."""

    breaker_run: int = 250
    """So many records in a row that are refused halt their lane until `penstock lanes resume`. 0: never."""

    breaker_ratio: float = 0.5
    """A larger part than this of the last `breaker_window` records, refused, halts the lane as well. 0: never."""

    breaker_window: int = 1_000
    """How many records `breaker_ratio` looks at. Each worker counts what it drains itself."""

    stream_policy: Literal["complete_only", "snapshots", "all_chunks"] = "complete_only"
    """What is stored of a stream while it is open: nothing, its text so far, or each chunk as well."""

    stream_timeout_ms: int = 300_000
    """A stream with no news for this long is stored as interrupted."""

    stream_open_max: int = 1_000
    """Open streams kept in the queue server; beyond, the longest idle are stored as interrupted early."""

    stream_snapshot_ms: int = 2_000
    """With `snapshots`: how often an open stream's row is refreshed."""

    strategy: str = "default"
    """What is stored, and how: `default`, `verbose`, `minimal`, `mask`, or `my_package.module:object`; several with
    commas between. `docs/strategies.md` tells what each does."""

    strategy_at: Literal["worker", "producer"] = "worker"
    """Who applies it: the worker before it stores, or the producer before it sends. The text of streams, which is whole
    at the worker alone, is left to the worker in any case."""

    index_every_ms: int = 1_000
    """How often the words of new messages are indexed, so that they are found. 0: never."""

    upkeep_every_s: int = 60
    """How often one worker of all removes what has expired or is past its time. 0: never; `penstock upkeep` does it."""

    tombstone_days: int = 7
    """What was deleted, or has expired, does not come back with an older record for this long."""

    retain_messages_days: int = 0
    """Messages older than this are removed, and sessions without any. 0: kept for ever."""

    retain_logs_days: int = 0
    """Log events older than this are removed. 0: kept for ever."""

    retain_tasks_days: int = 0
    """Tasks that are completed, failed or cancelled are removed this long after their last change. 0: kept for ever."""

    retain_dead_days: int = 0
    """Dead letters are purged this long after they were given up, edited or imported last. 0: kept for ever."""

    uvloop: UseUvloop = "auto"
    """`auto`: the worker's event loop is uvloop's where it is installed. `never`: Python's own."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is console on a terminal, else JSON."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is written."""

    def __post_init__(self) -> None:
        strategies.check(self.strategy)
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise InvalidSetting(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise InvalidSetting(f"{name} is {getattr(self, name)}; 0 or more is needed")
        if 0 < self.retain_tasks_days < self.tombstone_days:
            raise InvalidSetting(
                f"retain_tasks_days ({self.retain_tasks_days}) must be 0 or not below tombstone_days "
                f"({self.tombstone_days}), or an older record brings back a task that is gone"
            )
        if self.drain_linger_ms >= self.lease_ms:
            raise InvalidSetting(
                f"drain_linger_ms ({self.drain_linger_ms}) must be below lease_ms ({self.lease_ms}), "
                f"or a lease ends while its owner waits"
            )
        if not 0 <= self.breaker_ratio <= 1:
            raise InvalidSetting(f"breaker_ratio is {self.breaker_ratio}; 0 to 1 is needed")
        if self.backoff_base_ms > self.backoff_cap_ms:
            raise InvalidSetting(
                f"backoff_base_ms ({self.backoff_base_ms}) must not be above backoff_cap_ms ({self.backoff_cap_ms})"
            )
