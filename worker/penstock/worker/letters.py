"""Dead letters as a worker writes them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgpack

from penstock.wire.entries import Entry, Letter
from penstock.wire.frames import encode
from penstock.wire.ids import format_id, new_id
from penstock.wire.keys import Partition
from penstock.wire.records import kind_of
from penstock.worker.poison import Refused

UNDECODABLE = "undecodable"
"""Error kind: the log's entry is no frame; the letter holds its bytes."""

_MAX_REASON_CHARS = 500
_VERSION = version("penstock")


class LetterWriter:
    """Makes the letters of one worker, for one partition."""

    __slots__ = ("_common",)

    def __init__(self, partition: Partition, worker_id: str, attempts: int, now_ms: int) -> None:
        self._common: dict[str, Any] = {
            "lane": partition.lane,
            "attempts": attempts,
            "first_at_ms": now_ms,
            "last_at_ms": now_ms,
            "worker": worker_id,
            "version": _VERSION,
        }

    def refused(self, refused: Refused, records: int) -> Letter:
        """The letter of a record that will not be stored; it counts for that many accepted ones."""
        kind = kind_of(refused.record).name
        envelope = self._envelope(refused.kind, refused.reason, kind)
        return Letter(format_id(refused.record.id), records, encode(refused.record, limit_bytes=None), envelope)

    def undecodable(self, entry: Entry, reason: str) -> Letter:
        """The letter of an entry that is no frame. It gets an id of its own, since its records' are unknown."""
        return Letter(format_id(new_id()), entry.records, entry.frame, self._envelope(UNDECODABLE, reason, "frame"))

    def _envelope(self, kind: str, reason: str, record_kind: str) -> bytes:
        text = reason if len(reason) <= _MAX_REASON_CHARS else f"{reason[:_MAX_REASON_CHARS]}…"
        packed: bytes = msgpack.packb({**self._common, "kind": kind, "reason": text, "record_kind": record_kind})
        return packed
