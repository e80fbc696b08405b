"""What the producer may raise, split by what the caller does next.

PenstockError
├── InvalidRecord           from the wire: mend the call; nothing was taken
└── ProducerError
    ├── BufferFull          wait, or send less; this record was not taken
    ├── RecordDropped       this record is gone, counted and logged; hand it over again if it matters. Or the
    │                       strategy leaves it out, as it shall
    ├── DeadLettered        the store refused the record; mend the cause, then replay it
    ├── NotQueued           no news within the time allowed; wait longer, or look at the queue server
    ├── NotStored           no news within the time allowed; wait longer, or look at the workers
    ├── ProducerClosed      use the producer inside its `with` block
    └── StreamEnded         open a new stream
"""

from __future__ import annotations

from penstock.wire.errors import PenstockError


class ProducerError(PenstockError):
    """Root of what the producer raises, besides `InvalidRecord` from the wire."""


class BufferFull(ProducerError):
    """The buffer has no room. This record was not taken; those before it are safe where they were."""


class RecordDropped(ProducerError):
    """The record was given up: counted in `dropped`, and logged unless the strategy says so."""


class DeadLettered(ProducerError):
    """The store refused the record for good. It waits in the dead letters, where it can be replayed."""

    def __init__(self, record_id: str, kind: str, reason: str, letter_id: str = "") -> None:
        letter_id = letter_id or record_id
        super().__init__(
            f"record {record_id} is a dead letter ({kind}): {reason}; "
            f"mend the cause, then: penstock dlq replay {letter_id}"
        )
        self.id = record_id
        self.letter_id = letter_id
        """What it is replayed by: the record's id, unless it lies in something larger, as a frame that is damaged."""
        self.kind = kind
        """The error's kind, for example `rejected`."""
        self.reason = reason


class NotQueued(ProducerError, TimeoutError):
    """The queue has not confirmed the record yet. It is not lost: the producer keeps trying."""


class NotStored(ProducerError, TimeoutError):
    """The store has not confirmed the record yet. The message says how far it is known to have come."""


class ProducerClosed(ProducerError):
    """The producer takes nothing: it is not started yet, or closed."""


class StreamEnded(ProducerError):
    """The stream's block was left, its producer closed, or the process forked."""
