"""What a SQL store rids itself of: what has expired, what is past its time, and what is too much for its file.

What has expired leaves in two steps. First it becomes a tombstone: its row is emptied and keeps its stamp, so that an
older write which comes late does not bring back what was there before. Tombstones go when they are old. A finished task
goes at once, since it must not have been touched for as long as a tombstone is kept. Messages and logs leave nothing:
one that comes again, from a queue or a dead letter, is past its time still, and the next run removes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["tombstones", "contexts", "key_values", "tasks", "logs", "messages"]

Excess: TypeAlias = Literal["logs", "messages"]
"""What goes where a file is too large, in this order."""

FINISHED = ("completed", "failed", "cancelled")
"""The statuses of tasks that nobody will go on with. SQL files repeat them, as an index of theirs does."""

Bounds: TypeAlias = Mapping[Kind, int]
"""Kinds in the order in which they go, each with the time before which it goes."""


class SqlUpkeep(Protocol):
    """What a SQL backend does in its own house. Every call may be repeated, and run in several processes at once.

    A call of a slice is one transaction, or nothing of it.
    """

    async def count_due(self, kind: Kind, before_us: int) -> int:
        """How many records of *kind* are due before *before_us*: exactly those that `remove_due` would remove.

        Tombstones (of state and of messages) by when they were made; contexts and key-values by when they expired;
        tasks that are completed, failed or cancelled by their last change; logs and messages by when they were created.

        Raises:
            StoreUnavailable: No answer.
        """
        ...

    async def remove_due(self, kind: Kind, before_us: int, now_us: int, limit: int) -> int:
        """Remove at most *limit* of them, the oldest first. Returns how many went; 0 when nothing is left.

        A whole partition, where the backend has any, goes at once. Sessions count what is left of their messages; one
        without any goes too, and so do the chunks of a message. Contexts and key-values become tombstones of *now_us*.
        What another transaction holds stays until another call.

        Raises:
            StoreUnavailable: Nothing is known of this slice; the ones before it are done.
        """
        ...

    async def count_excess(self, kind: Excess, bounds: Bounds, now_us: int, floor_us: int, limit: int) -> int:
        """How many of *kind* `remove_excess` would remove in slices of *limit*, once everything of *bounds* is gone.

        0 where the backend keeps no limit of its size.
        """
        ...

    async def remove_excess(self, kind: Excess, floor_us: int, limit: int) -> int:
        """While the file is larger than it should be, remove at most *limit* of *kind*, the oldest first.

        Nothing that was created at *floor_us* or later. Returns how many went; 0 when it is small enough, or nothing is
        left.
        """
        ...

    async def refresh_search(self, limit: int) -> int:
        """Have `search_messages` find what was stored since: look at about *limit* messages, the newest first.

        Writes only note what times they brought messages of, so this does most of their work for searches. Returns
        how many messages and left-over entries were looked at; 0 when nothing is left, or the schema has no index yet.
        """
        ...

    async def reindex(self) -> None:
        """Have `refresh_search` look at every message again: for those that something else than a store has written,
        such as a worker of the release before beside this one."""
        ...

    async def tidy(self, now_us: int) -> Mapping[str, int]:
        """Do what the backend needs now and then, which changes no record. Returns what was done, for the log."""
        ...
