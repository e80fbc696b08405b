"""One key that somebody wants to set if nobody has. Who asks the queue for it, `claims`, comes with the outbox."""

from __future__ import annotations

from penstock.producer.receipt import Placed
from penstock.wire.frames import encode
from penstock.wire.ids import StampClock
from penstock.wire.marks import restamped

PATIENCE_S = 5.0
"""How long a claim waits for an answer, unless told otherwise: whoever asks wants to go on now."""


class Claim:
    """One key that somebody wants to set, and what is known of it so far."""

    __slots__ = ("answer", "asked", "key", "level", "order", "packed", "placed", "reason", "stamps")

    def __init__(self, key: str, order: str, packed: bytes, stamps: StampClock, level: int) -> None:
        self.key = key
        self.order = order
        """Its ordering key."""
        self.packed = packed
        """The encoded `KeyValue`."""
        self.stamps = stamps
        """The clock that its stamp comes from."""
        self.level = level
        """How durable its record must be before it is told."""
        self.answer: bool | None = None
        self.placed: Placed | None = None
        """Where the value lies, where the answer is True."""
        self.asked = False
        """The queue may have set the key."""
        self.reason = ""
        """Why the queue gave no answer."""

    def outrank(self, stamp: bytes) -> None:
        """Take a stamp above *stamp*."""
        self.stamps.observe(stamp)
        self.packed = encode(restamped(self.packed, self.stamps.next()))

    def known(self, reason: str) -> str:
        """What the caller must know of a claim that was not answered, where *reason* is the queue's last word."""
        if not self.asked:
            return f"key {self.key!r} was not set: the queue was not asked yet ({reason})"
        heard = f" ({self.reason})" if self.reason else ""
        return (
            f"key {self.key!r} may or may not have been set, no answer came{heard}; asked again the queue says False "
            f"if it was, and the stored value tells whose it is if each caller gives its own"
        )
