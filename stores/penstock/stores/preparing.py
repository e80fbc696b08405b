"""Records that a store was shown ahead, with what it has made of them: work done while it writes the ones before."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from penstock.wire.records import Record


class Prepared(list[Record]):
    """Records, and what a store has made of just these. A part or a copy of it is a plain list."""

    __slots__ = ("made",)

    def __init__(self, records: list[Record], made: Any) -> None:
        super().__init__(records)
        self.made = made
        """Only the store that made it knows what it is."""


@runtime_checkable
class Preparing(Protocol):
    """A store that can work on a batch before it is its turn. `write` takes any records all the same."""

    async def prepare(self, records: list[Record]) -> list[Record]:
        """*records*, checked and made ready as far as that needs no look at what is stored. To be given to `write`.

        What `write` refuses comes back as it was, and nothing is raised.
        """
        ...
