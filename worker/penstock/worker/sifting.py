"""What the strategy makes of a batch before it is written, and what it is told afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import structlog

from penstock.wire.errors import StrategyFailed
from penstock.wire.ids import format_id
from penstock.wire.records import Message, Record, StreamChunk
from penstock.wire.strategies import Chain, load
from penstock.worker.poison import Refused
from penstock.worker.settings import WorkerConfig

STRATEGY = "strategy"
"""Error kind: the strategy raised, or made of the record what cannot stand for it."""

_BREATH_S = 0.05
"""A strategy computes this long before the worker's other tasks have their turn; one of them keeps the lease."""

_log = structlog.get_logger("penstock.worker")


@dataclass(slots=True)
class Sifted:
    """What is to be written of some records, and what is not."""

    records: list[Record] = field(default_factory=list)
    skipped: list[Record] = field(default_factory=list)
    failed: list[Refused] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records) + len(self.skipped) + len(self.failed)


class Sieve:
    """The strategy of one worker. A worker whose strategy has nothing to do has None in its place."""

    __slots__ = ("_chain", "_only_streams")

    def __init__(self, chain: Chain, *, only_streams: bool) -> None:
        self._chain = chain
        self._only_streams = only_streams

    @classmethod
    def of(cls, config: WorkerConfig) -> Self | None:
        """What *config* asks for. Raises `InvalidSetting`."""
        chain = load(config.strategy)
        if chain is None:
            return None
        if config.stream_policy == "all_chunks" and not chain.takes_chunks:
            _log.warning("chunks are not stored", strategy=chain.spec, reason="it has to see a message as a whole")
        return cls(chain, only_streams=config.strategy_at == "producer")

    @property
    def takes_chunks(self) -> bool:
        """Whether chunks may be stored beside the message that they make."""
        return self._chain.takes_chunks

    async def sift(self, records: Sequence[Record]) -> Sifted:
        """Apply the strategy to each of *records*. What it fails on is left as it came."""
        sifted = Sifted()
        async for record in _unhurried(records):
            if self._only_streams and not _is_of_stream(record):
                sifted.records.append(record)
            else:
                self._sift_one(record, sifted)
        return sifted

    def _sift_one(self, record: Record, sifted: Sifted) -> None:
        try:
            kept = self._chain.applied(record)
        except StrategyFailed as exc:
            if not sifted.failed:  # the others of a batch have hardly another reason
                _tell(exc, record)
            sifted.failed.append(Refused(record, str(exc), STRATEGY))
            return
        if kept is None:
            sifted.skipped.append(record)
        else:
            sifted.records.append(kept)

    async def tell_stored(self, records: Sequence[Record], refused: Iterable[Refused]) -> None:
        """Tell the strategy of *records* that were written, all but *refused*."""
        if not self._chain.listens:
            return
        left = {id(one.record) for one in refused}
        failed = False
        async for record in _unhurried(records):
            try:
                if id(record) not in left:
                    self._chain.stored(record)
            except StrategyFailed as exc:  # the record is stored, and nothing can be done for it
                if not failed:
                    _tell(exc, record)
                failed = True


async def _unhurried(records: Iterable[Record]) -> AsyncIterator[Record]:
    rest_at = time.monotonic() + _BREATH_S
    for record in records:
        yield record
        if time.monotonic() > rest_at:
            await asyncio.sleep(0)
            rest_at = time.monotonic() + _BREATH_S


def _is_of_stream(record: Record) -> bool:
    """Whether *record* came as a stream, also when it comes again from the dead letters."""
    return isinstance(record, StreamChunk) or (isinstance(record, Message) and record.version > 0)


def _tell(exc: StrategyFailed, record: Record) -> None:
    at = ", ".join(getattr(exc, "__notes__", ())) or None
    _log.warning("strategy failed", reason=str(exc), at=at, record=format_id(record.id))
