"""Markers: what the queue server knows of each key-value, so that it can decide at once who sets a key first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

from penstock.wire.frames import decode
from penstock.wire.records import KINDS, KeyValue

GRACE_MS = 5 * 60 * 1000
"""A marker is kept this long after its key was deleted or has expired, and still tells its stamp.

It bridges clocks that disagree and producers that were cut off: what is older than the marker does not bring the key
back. A marker is live while its TTL is above this, so the figure is part of the layout: every producer of a namespace
must have the same.
"""

_KEY_VALUE = next(kind.code for kind in KINDS if kind.record is KeyValue)


class Mark(NamedTuple):
    """What one record does to the marker of its key, unless the marker is newer."""

    namespace: str
    key: str
    stamp: bytes
    expires_at_us: int | None
    """None for never; 0 for a deletion."""

    def life_ms(self, now_us: int) -> int | None:
        """How long the server shall keep the marker, from *now_us* of the clock that gave the expiry; None for ever.

        A span and no moment: how long a key is held is then measured by the server's clock alone.
        """
        if self.expires_at_us is None:
            return None
        left_us = self.expires_at_us - now_us
        # Up: what is cut off here, and up to a millisecond that the server cuts off, must not free a key too early.
        return GRACE_MS if left_us <= 0 else left_us // 1000 + 2 + GRACE_MS


def marks_of(packed: Iterable[bytes]) -> list[Mark]:
    """The marks of encoded records: one for each key that a key-value among them names, the newest."""
    newest: dict[tuple[str, str], Mark] = {}
    for each in packed:
        # The kind follows one byte of header: only arrays of 16 and more have a longer one, and it goes on with 0.
        if each[1] == _KEY_VALUE:
            mark = _mark(cast("KeyValue", decode(each)))
            key = mark.namespace, mark.key
            if key not in newest or mark.stamp > newest[key].stamp:
                newest[key] = mark
    return list(newest.values())


def restamped(packed: bytes, stamp: bytes) -> KeyValue:
    """The key-value that *packed* holds, under another stamp."""
    return cast("KeyValue", decode(packed))._replace(stamp=stamp)


def _mark(record: KeyValue) -> Mark:
    expires_at_us = record.expires_at_us if record.deleted_at_us is None else 0
    return Mark(record.namespace, record.key, record.stamp, expires_at_us)
