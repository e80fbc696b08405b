"""What the sender needs of the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from penstock.wire.entries import Confirmed, Push, Pushed
from penstock.wire.keys import Partition


class Log(Protocol):
    """The partition logs, as those see them who send."""

    @property
    def partitions(self) -> int:
        """See `Queue.partitions`."""
        ...

    async def open(self, partitions: int | None = None) -> object:
        """See `Queue.open`."""
        ...

    async def push(self, pushes: Sequence[Push], backlog_records: int) -> list[Pushed | Exception]:
        """See `Queue.push`."""
        ...

    async def ring(self, rings: Sequence[tuple[Partition, int]]) -> None:
        """See `Queue.ring`."""
        ...

    async def confirm(self, producers: Mapping[Partition, str], levels: int) -> Confirmed:
        """See `Confirmer.confirm`."""
        ...
