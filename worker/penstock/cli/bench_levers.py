"""Which settings the figures of a run speak for. `docs/performance.md` has all of them, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from penstock.producer import ProducerSettings
    from penstock.worker import WorkerConfig

_SLOW_CALL_US = 20.0
_SLOW_STORED_MS = 50.0
_FAR_MS = 0.5
_GOOD_SHARE = 0.6
"""Of the limit; below, something beside the work is in the way."""
_USUAL_BATCH = 8_000


class Medians(NamedTuple):
    """What a run found, one value each."""

    call_us: float
    call_p99_us: float
    into: float
    into_limit: float
    drained: float
    drained_limit: float
    stored_ms: float
    stored_p99_ms: float
    round_trip_ms: float


class Setup(NamedTuple):
    """What it was found with."""

    producer: ProducerSettings
    worker: WorkerConfig
    appendfsync: str | None
    has_uvloop: bool
    is_postgres: bool


def levers(found: Medians, setup: Setup) -> list[str]:
    """One line for each setting that may help, with why."""
    return [*_of_calls(found), *_of_queue(found, setup), *_of_drain(found, setup), *_of_waiting(found, setup)]


def _of_calls(found: Medians) -> list[str]:
    if found.call_us <= _SLOW_CALL_US:
        return []
    return [
        f"A call takes {found.call_us:.0f} us, which is this processor's pace or other work on it: no setting helps."
    ]


def _of_queue(found: Medians, setup: Setup) -> list[str]:
    lines = []
    if setup.appendfsync == "always":
        lines.append(
            "The queue server syncs every push (appendfsync always): everysec is faster, and may lose a second."
        )
    if setup.producer.durability != "fast":
        lines.append(
            f"Records are confirmed as {setup.producer.durability}: PENSTOCK_DURABILITY=fast, and "
            'producer.at("fsync") for those that need more.'
        )
    if found.round_trip_ms > _FAR_MS and setup.producer.compression == "none":
        lines.append(
            f"The queue server is {found.round_trip_ms:.1f} ms away: PENSTOCK_COMPRESSION=zstd sends fewer bytes."
        )
    return lines


def _of_drain(found: Medians, setup: Setup) -> list[str]:
    lines = []
    if not setup.has_uvloop and setup.worker.uvloop == "auto":
        lines.append("uvloop is not installed: a worker takes up to a tenth less of a core with penstock[uvloop].")
    if setup.worker.batch_records < _USUAL_BATCH:
        lines.append(
            f"PENSTOCK_BATCH_RECORDS is {setup.worker.batch_records:,}: {_USUAL_BATCH:,} make fewer transactions."
        )
    if found.drained < _GOOD_SHARE * found.drained_limit:
        lines.append(
            "The store could take more than one worker brings: start another `penstock worker`."
            if setup.is_postgres
            else "The store could take more: give worker and queue server a core each. SQLite has one writer at a time."
        )
    return lines


def _of_waiting(found: Medians, setup: Setup) -> list[str]:
    if found.stored_ms <= _SLOW_STORED_MS:
        return []
    if setup.producer.linger_ms > found.stored_ms / 4:
        return [f"PENSTOCK_LINGER_MS is {setup.producer.linger_ms:g}: a record waits for others for so long."]
    return ["A record alone waits longer than it should: look at the store's own commit, and at what else runs here."]
