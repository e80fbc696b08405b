"""Records from files into a store, in batches. One that the store refuses costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from penstock.moving.walks import size_of
from penstock.stores.errors import StoreRejected
from penstock.wire.records import Record

_BATCH_RECORDS = 2_000
_BATCH_BYTES = 4 * 1024 * 1024


class Writable(Protocol):
    """What records are written to."""

    async def write(self, records: Sequence[Record]) -> int:
        """See `Store.write`."""
        ...


@dataclass(slots=True)
class Loaded:
    """What was loaded."""

    records: int = 0
    """That the store has taken, or had already."""
    new: int = 0
    refused: int = 0
    """Lines that were skipped."""


class _Waiting(NamedTuple):
    place: str
    record: Record


class Loader:
    """Writes what it is given in the order in which it is given."""

    def __init__(
        self, store: Writable, complain: Callable[[str], object], tell: Callable[[int], object] = lambda _: None
    ) -> None:
        """*complain* is told each line that is refused, and why; *tell* how many records are through."""
        self.loaded = Loaded()
        self._store = store
        self._complain = complain
        self._tell = tell
        self._waiting: list[_Waiting] = []
        self._bytes = 0

    async def add(self, place: str, record: Record) -> None:
        """Take *record*, which comes from *place*: a file and a line."""
        self._waiting.append(_Waiting(place, record))
        self._bytes += size_of(record)
        if len(self._waiting) >= _BATCH_RECORDS or self._bytes >= _BATCH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what was taken. Raises `StoreUnavailable`."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        await self._write(waiting)

    def refuse(self, place: str, reason: str) -> None:
        """Skip what is at *place*."""
        self.loaded.refused += 1
        self._complain(f"{place}: {reason}; skipped")

    async def _write(self, waiting: Sequence[_Waiting]) -> None:
        if not waiting:
            return
        try:
            self.loaded.new += await self._store.write([each.record for each in waiting])
        except StoreRejected as exc:
            if len(waiting) == 1:
                self.refuse(waiting[0].place, str(exc))
                return
            half = len(waiting) // 2
            await self._write(waiting[:half])
            await self._write(waiting[half:])
        else:
            self.loaded.records += len(waiting)
            self._tell(self.loaded.records)
