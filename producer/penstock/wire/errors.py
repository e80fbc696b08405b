"""What the wire may raise, split by what the caller does next.

PenstockError
├── InvalidRecord          mend the call; nothing was sent
│   ├── RecordTooLarge     send less, or store the body elsewhere and send a reference
│   └── StrategyFailed     mend the strategy; nothing was sent
├── FrameError
│   ├── FrameCorrupt       these bytes will never decode; dead-letter them
│   └── FrameTooNew        a newer producer wrote this; upgrade the worker, keep the frame
├── QueueUnavailable       nothing is known about the call; repeat it, scripts are safe to repeat
│   └── PasswordRefused    mend the URL or the server's password; until then it is as good as away
├── QueueRejected          the server refuses the call for good: foreign data under our keys, or a bug
├── QueueFull              nothing was appended; wait until workers have drained
├── PushLost               nothing was appended: an earlier push is gone; push that one again first
└── ConfigMismatch         this process and the namespace disagree; change the setting
"""

from __future__ import annotations

import reprlib

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 60


class PenstockError(Exception):
    """Root of every error that Penstock raises on purpose."""


class InvalidRecord(PenstockError, ValueError):
    """A field cannot be stored, by any store. Nothing was sent.

    `field`, `value` and `limit` say which, what and what would be accepted.
    """

    def __init__(self, field: str, value: object, limit: str) -> None:
        super().__init__(f"{field}: got {_shown.repr(value)}; {limit}")
        self.field = field
        self.value = value
        self.limit = limit


class RecordTooLarge(InvalidRecord):
    """The encoded record is above `MAX_RECORD_BYTES`. Nothing was sent."""

    def __init__(self, kind: str, size_bytes: int, limit_bytes: int) -> None:
        ValueError.__init__(
            self,
            f"{kind}: the encoded record has {size_bytes:,} bytes, at most {limit_bytes:,} are accepted; "
            f"store the body elsewhere and send a reference to it",
        )
        self.field = kind
        self.value = size_bytes
        self.limit = f"at most {limit_bytes} bytes"


class StrategyFailed(InvalidRecord):
    """A strategy raised, or returned what cannot stand for the record. Says nothing of what the record holds."""

    def __init__(self, strategy: str, fault: str) -> None:
        ValueError.__init__(self, f"strategy {strategy!r} {fault}")
        self.field = "strategy"
        self.value = strategy
        self.limit = fault


class FrameError(PenstockError):
    """A frame of the log cannot be read."""


class FrameCorrupt(FrameError):
    """These bytes are no frame and never will be."""


class FrameTooNew(FrameError):
    """A newer producer wrote this frame, or one that compresses. An upgraded worker can read it, so it must be kept."""


class QueueUnavailable(PenstockError):
    """The queue server did not answer. The call may or may not have taken effect."""


class PasswordRefused(QueueUnavailable):
    """The queue server wants another password, or one at all. Nothing was done."""


class QueueRejected(PenstockError):
    """The queue server answered, and the answer will not change on a retry. Nothing was done."""


class QueueFull(PenstockError):
    """The partition's backlog cap or the server's memory is reached. Nothing was appended."""


class PushLost(PenstockError):
    """A crash or a failover of the queue server took a push that this one follows. Nothing was appended."""

    def __init__(self, upto: int) -> None:
        super().__init__(f"the queue server has lost pushes after number {upto}: it crashed or failed over")
        self.upto = upto
        """The last push of this producer to the partition that is still there; 0 for none."""


class ConfigMismatch(PenstockError):
    """A setting of this process contradicts what the namespace was created with."""
