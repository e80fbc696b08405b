"""Many calls that take effect together, or not at all.

A transaction lies in memory until its commit, which is one atomic `Store.write`. So the database holds no lock while
the caller thinks, and nobody sees anything of it before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from penstock.direct.errors import TransactionEnded, TransactionTooLarge
from penstock.direct.ids import id_of
from penstock.producer.record_calls import RecordCalls
from penstock.stores.errors import StoreRejected
from penstock.stores.states import is_state
from penstock.wire.building_state import StateBuilder
from penstock.wire.frames import encode
from penstock.wire.ids import RisingClock
from penstock.wire.records import Record

MAX_RECORDS = 20_000
"""Most records of a transaction: a store writes so many in up to a second, while other writers wait."""

MAX_BYTES = 64 * 1024 * 1024
"""Most encoded bytes of them."""


class _Phase(Enum):
    OPEN = "open"
    COMMITTING = "being committed"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"


class Transaction(RecordCalls[str]):
    """The calls of `DirectStore`, plain: each returns the id, and nothing is stored before the commit.

    As a block it is committed at its end, and rolled back by an exception; otherwise end it by `commit` or `rollback`.
    State that is committed is newer than what was stored before the commit, whenever its call was.
    """

    def __init__(
        self, write: Callable[[Sequence[Record]], Awaitable[int]], clock: RisingClock, states: StateBuilder
    ) -> None:
        self._write = write
        self._clock = clock
        self._states = states
        self._records: list[Record] = []
        self._size = 0
        self._phase = _Phase.OPEN
        self._is_stamped = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._phase is not _Phase.OPEN:
            return  # ended in the block
        if exc is None:
            await self.commit()
        else:
            await self.rollback()

    def __len__(self) -> int:
        """How many records it holds."""
        return len(self._records)

    async def commit(self) -> int:
        """Store everything, in the order of the calls. Returns how many records were new or newer.

        A cancelled call has stored all or nothing. After it, and after `StoreUnavailable`, the transaction is still
        open, and committing again is harmless.

        Raises:
            StoreUnavailable: No answer; all or nothing is stored.
            StoreRejected: The store refuses some of it; nothing is stored, and the transaction has ended.
            TransactionEnded: It was committed or rolled back before, or is being committed.
        """
        self._require_open()
        self._phase = _Phase.COMMITTING
        try:
            written = await self._write(self._stamped())
        except StoreRejected:
            self._end(_Phase.ROLLED_BACK)
            raise
        except BaseException:
            self._phase = _Phase.OPEN
            raise
        self._end(_Phase.COMMITTED)
        return written

    async def rollback(self) -> None:
        """Forget everything. Nothing of it is stored.

        Raises:
            TransactionEnded: It was committed or rolled back before, or is being committed.
        """
        self._require_open()
        self._end(_Phase.ROLLED_BACK)

    def _send(self, record: Record, lane: str, key: str) -> str:  # noqa: ARG002 - those of a queue
        self._require_open()
        size = len(encode(record))
        if len(self._records) >= MAX_RECORDS or self._size + size > MAX_BYTES:
            raise TransactionTooLarge(
                f"a transaction takes {MAX_RECORDS:,} records and {MAX_BYTES:,} bytes; this one has "
                f"{len(self._records):,} of {self._size:,} bytes, and {size:,} more do not fit: commit it before"
            )
        self._records.append(record)
        self._size += size
        return id_of(record)

    def _stamped(self) -> list[Record]:
        """The records, state with stamps of now. Those of the first commit stay, so that a second one is the same."""
        if not self._is_stamped:
            stamps = self._states.stamps
            self._records = [each._replace(stamp=stamps.next()) if is_state(each) else each for each in self._records]
            self._is_stamped = True
        return self._records

    def _require_open(self) -> None:
        if self._phase is not _Phase.OPEN:
            raise TransactionEnded(f"this transaction is {self._phase.value}; begin another one")

    def _end(self, phase: _Phase) -> None:
        self._phase = phase
        self._records = []
        self._size = 0
