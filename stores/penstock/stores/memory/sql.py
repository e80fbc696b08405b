"""Messages, chunks, logs and state in this process's memory: the contract with nothing in its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import TypeVar

from penstock.stores.contract import Capabilities, Fence, Partial, SqlReading, Trial
from penstock.stores.errors import StaleOwner, StoreRejected
from penstock.stores.key_value_contract import PagedKeyValues
from penstock.stores.memory.inspection import MemoryInspection
from penstock.stores.memory.reading import MemoryReading, place
from penstock.stores.memory.upkeep import MemoryUpkeep
from penstock.stores.memory.walking import MemoryWalking
from penstock.stores.sessions import growth
from penstock.stores.sorting import Sorted, chunk_row, sort
from penstock.stores.soundness import refuse_unsound
from penstock.stores.states import Was, is_state
from penstock.stores.tombstones import WHOLE_SESSION, Tombstones
from penstock.wire.records import KeyValue, Message, MessageDeletion, Record

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def open_sql(url: str) -> MemorySql:  # noqa: ARG001 - every backend is opened by its URL
    """An empty store. Two of them share nothing, whatever their URLs."""
    return MemorySql()


class MemorySql(MemoryReading, MemoryWalking, MemoryInspection, MemoryUpkeep, PagedKeyValues):
    """Records in dicts. See `SqlStore`.

    No call gives way to another one, so every write is atomic and a cancelled one did not start.
    """

    capabilities = Capabilities(shared=False, fenced=True)

    async def setup(self, *, migrate: bool = True) -> None:  # noqa: ARG002 - nothing to migrate
        """Nothing to create."""
        await self.check()

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`."""
        await self.check()
        batch = sort(records)
        if fence is not None:
            self._check_epoch(fence)
        deleted = sum([self._delete(deletion) for deletion in batch.deletions])
        batch = self._spared(batch)
        return (
            deleted
            + sum([self._put_message(message) for message in batch.messages])
            + sum([_put_if_absent(self._chunks, chunk[:2], chunk) for chunk in map(chunk_row, batch.chunks)])
            + sum([_put_if_absent(self._logs, log.id, log) for log in batch.logs])
            + sum([self._state.put(record) for record in records if is_state(record)])
        )

    async def put(self, records: Sequence[KeyValue], now_us: int, *, if_absent: bool = False) -> Sequence[Was]:
        """See `KeyValueStore.put`."""
        await self.check()
        refuse_unsound(records)
        return self._state.place(records, now_us, if_absent=if_absent)

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`. Writes them into a copy of all that there is."""
        await self.check()
        copy = deepcopy(self)
        return [await _tried(copy, record) for record in records]

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """See `Store.partials`."""
        await self.check()
        known = (self._messages[each] for each in ids if each in self._messages)
        return {row.id: Partial((row.state and row.content) or "", row.version) for row in known if row.version > 0}

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqlReading]:
        """See `SqlStore.snapshot`."""
        await self.check()
        yield deepcopy(self)

    def _check_epoch(self, fence: Fence) -> None:
        seen = self._epochs.get(fence.partition, fence.epoch)
        if seen > fence.epoch:
            raise StaleOwner(fence.partition, fence.epoch, seen)
        self._epochs[fence.partition] = fence.epoch

    def _delete(self, deletion: MessageDeletion) -> bool:
        if deletion.message_id is None:
            return self._delete_session(deletion)
        known = self._messages.get(deletion.message_id)
        if known is None or known.session_id != deletion.session_id:
            return self._entomb(deletion, deletion.message_id)
        if known.deleted_at_us is not None:
            return False
        self._messages[known.id] = known._replace(deleted_at_us=deletion.created_at_us)
        self._sessions[known.session_id][3] -= 1
        return True

    def _delete_session(self, deletion: MessageDeletion) -> bool:
        session_id, upto_us = deletion.session_id, deletion.created_at_us
        if not self._entomb(deletion, WHOLE_SESSION):
            return False
        gone = {
            row.id for row in self._messages.values() if row.session_id == session_id and row.created_at_us <= upto_us
        }
        self._messages = {each: row for each, row in self._messages.items() if each not in gone}
        self._drop_chunks(gone)
        self._sessions.pop(session_id, None)
        left = (row for row in self._messages.values() if row.session_id == session_id)
        growth(sorted(left, key=place), into=self._sessions)
        self._tombstones = {
            key: at_us
            for key, at_us in self._tombstones.items()
            if key[0] != session_id or key[1] == WHOLE_SESSION or at_us > upto_us
        }
        return True

    def _entomb(self, deletion: MessageDeletion, message_id: bytes) -> bool:
        """Note *deletion*, unless the session was deleted after it, or the message before it."""
        session_id, at_us = deletion.session_id, deletion.created_at_us
        known = (session_id, message_id) in self._tombstones and message_id != WHOLE_SESSION
        if known or self._tombstones.get((session_id, WHOLE_SESSION), -1) >= at_us:
            return False
        self._tombstones[session_id, message_id] = at_us
        self._entombed[session_id, message_id] = deletion.id
        return True

    def _spared(self, batch: Sorted) -> Sorted:
        stones = Tombstones(self._tombstones)
        messages, chunks = stones.spare(batch.messages), stones.spare_chunks(batch.chunks)
        batch = batch._replace(messages=messages, chunks=chunks, are_plain=False)
        for key in stones.used:
            self._tombstones.pop(key, None)
        self._drop_chunks(stones.lost)
        return batch

    def _put_message(self, message: Message) -> bool:
        known = self._messages.get(message.id)
        if known is None:
            self._messages[message.id] = message
            growth([message], into=self._sessions)
            return True
        if known.version >= message.version:
            return False
        deleted_at_us = message.deleted_at_us if known.deleted_at_us is None else known.deleted_at_us
        if known.deleted_at_us is None and deleted_at_us is not None:
            self._sessions[known.session_id][3] -= 1
        # Time and session stay: a message keeps its place. So does the mark of a deletion.
        self._messages[message.id] = message._replace(
            created_at_us=known.created_at_us, session_id=known.session_id, deleted_at_us=deleted_at_us
        )
        return True


async def _tried(store: MemorySql, record: Record) -> Trial:
    try:
        return Trial(is_new=await store.write([record]) > 0)
    except StoreRejected as exc:
        return Trial(is_new=False, refusal=str(exc))


def _put_if_absent(rows: dict[_Key, _Value], key: _Key, value: _Value) -> bool:
    if key in rows:
        return False
    rows[key] = value
    return True
