"""What was handed to a producer and is not stored yet, so that whoever has set it reads it at once."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from penstock.producer.errors import BufferFull, DeadLettered, RecordDropped
from penstock.producer.receipt import Receipt
from penstock.wire.errors import PenstockError
from penstock.wire.logs import logger
from penstock.wire.records import KeyValue
from penstock.wire.tasks import end_task

_FOLLOW_AFTER_S = 0.01
"""What is set again within this time is not followed: a task for each of many sets of one key would cost more than
they do."""


class _Entry(NamedTuple):
    record: KeyValue
    receipt: Receipt


class Overlay:
    """The last record of each key, of one namespace, until its receipt says that it is stored. Runs on one loop.

    A record that becomes a dead letter, or is dropped, leaves with a line in the log: the store keeps what it had.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: dict[str, _Entry] = {}
        self._fresh: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._is_over = False
        """The producer has closed."""

    def __len__(self) -> int:
        return len(self._entries)

    def refuse_full(self, key: str) -> None:
        """Raise `BufferFull` where there is no room for one more key."""
        if key not in self._entries and len(self._entries) >= self._most:
            raise BufferFull(
                f"{len(self._entries):,} keys wait to be stored, at most {self._most:,} are kept in memory to be read "
                f"at once; start more workers, see why they are behind (`penstock status`), or raise `unstored`"
            )

    async def room(self) -> None:
        """Wait until there is room for one more key, or never will be, since the producer has closed."""
        while len(self._entries) >= self._most and not self._is_over:
            self._room.clear()
            await self._room.wait()

    def note(self, record: KeyValue, receipt: Receipt) -> None:
        """Have *record* read until it is stored."""
        following = self._tasks.pop(record.key, None)
        if following is not None:
            following.cancel()  # a newer one says when both are stored: they lie in one log
        self._entries[record.key] = _Entry(record, receipt)
        self._fresh.add(record.key)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FOLLOW_AFTER_S, self._follow)

    def find(self, key: str) -> KeyValue | None:
        """The record that will be stored last under *key*; None where nothing waits."""
        entry = self._entries.get(key)
        return None if entry is None else entry.record

    def under(self, prefix: str) -> dict[str, KeyValue]:
        """What waits under keys that begin with *prefix*."""
        return {key: entry.record for key, entry in self._entries.items() if key.startswith(prefix)}

    async def close(self) -> None:
        """Follow nothing any more. What waits is stored all the same."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fresh.clear()
        for task in list(self._tasks.values()):
            await end_task(task)
        self._tasks.clear()
        self._entries.clear()
        self._room.set()

    def _follow(self) -> None:
        self._timer = None
        for key in self._fresh:
            entry = self._entries[key]
            task = asyncio.get_running_loop().create_task(self._until_stored(key, entry))
            self._tasks[key] = task
            task.add_done_callback(lambda done, key=key: self._forget(key, done))  # type: ignore[misc]
        self._fresh.clear()

    async def _until_stored(self, key: str, entry: _Entry) -> None:
        try:
            await entry.receipt.stored()
        except (DeadLettered, RecordDropped) as exc:
            logger("penstock.direct").warning("value not stored", key=key, reason=str(exc))
        except PenstockError:
            # The producer is closed: it is on its way, and nobody tells when it has arrived.
            self._is_over = True
            self._room.set()
            return
        if self._entries.get(key) is entry:
            del self._entries[key]
            self._room.set()

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
