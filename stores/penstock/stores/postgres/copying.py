"""Messages and log events by COPY: for those that are all new, as nearly all are.

The rows go straight into the table. Where one of them is there already, the server refuses all of them, and the batch
is written once more, by the statements that skip what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from penstock.stores.postgres.encoding import NOT_ENCODED, rows
from penstock.wire.records import LogEvent, Message

COPY_FROM = 100
"""Rows from which it pays. Processor time of both sides, against the statement: 0.9 of it at 100 messages, 0.8 at 250,
0.7 at 2,000. It costs the same at 25 and below."""

_MOST_PASSED = 15
"""Batches that go without a COPY after many that were not new. A miss costs about as much as a batch."""


class NotCopied(Exception):
    """Something is there already, or does not fit: the transaction must be rolled back, and tried without COPY.

    A statement refuses what does not fit in terms that can be told.
    """


class Optimism:
    """Whether batches are taken to be new. What comes again once, after a crash or from a copy, may do so in a run."""

    def __init__(self) -> None:
        self._passing = 0
        self._left = 0

    def is_due(self) -> bool:
        """Whether to try the next batch by COPY: after each miss in a row twice as many go without."""
        if self._left:
            self._left -= 1
            return False
        return True

    def missed(self) -> None:
        """A batch was not new."""
        self._left = self._passing = min(2 * self._passing + 1, _MOST_PASSED)

    def held(self) -> None:
        """A batch was new."""
        self._passing = 0


async def copy(connection: Any, table: str, records: Sequence[Message] | Sequence[LogEvent]) -> None:
    """Insert *records*, of one kind and sorted by id, within the open transaction.

    Raises:
        NotCopied: Nothing of the transaction can be kept.
    """
    try:
        found = rows(records)
        await connection.copy_to_table(table, source=found.chunks(), columns=found.names, format="binary")
    except (asyncpg.UniqueViolationError, *NOT_ENCODED) as exc:
        raise NotCopied from exc
