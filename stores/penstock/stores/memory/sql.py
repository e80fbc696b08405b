"""Messages, chunks, logs and state in this process's memory: the contract with nothing in its way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from penstock.stores import surface
from penstock.stores.contract import Capabilities, Fence, Partial
from penstock.stores.errors import StaleOwner, StoreUnavailable
from penstock.stores.memory.state import MemoryState
from penstock.stores.queries import (
    AgentStateQuery,
    ContextQuery,
    KeyValueQuery,
    LogQuery,
    MessageQuery,
    Position,
    SessionQuery,
    TaskQuery,
)
from penstock.stores.rows import (
    Session,
    StoredAgentState,
    StoredContext,
    StoredKeyValue,
    StoredLog,
    StoredMessage,
    StoredTask,
)
from penstock.stores.sessions import growth
from penstock.stores.sorting import Sorted, chunk_row, sort
from penstock.stores.states import is_state
from penstock.stores.tombstones import WHOLE_SESSION, Tombstones
from penstock.wire.records import LogEvent, Message, MessageDeletion, Record

_Row = TypeVar("_Row", Message, LogEvent)
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_MESSAGE_FIELDS = (
    "session_id", "user_id", "role", "platform", "engine_session_id", "provider_session_id", "provider_type",
)  # fmt: skip
_LOG_FIELDS = ("agent_id", "task_id", "event", "level")


def open_sql(url: str) -> MemorySql:  # noqa: ARG001 - every backend is opened by its URL
    """An empty store. Two of them share nothing, whatever their URLs."""
    return MemorySql()


class MemorySql:
    """Records in dicts. See `SqlStore`.

    No call gives way to another one, so every write is atomic and a cancelled one did not start.
    """

    capabilities = Capabilities(shared=False, fenced=True)

    def __init__(self) -> None:
        self._messages: dict[bytes, Message] = {}
        self._chunks: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._logs: dict[bytes, LogEvent] = {}
        self._sessions: dict[str, list[Any]] = {}
        self._epochs: dict[str, int] = {}
        self._tombstones: dict[tuple[str, bytes], int] = {}
        self._state = MemoryState()
        self._closed = False

    async def setup(self) -> None:
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

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """See `Store.partials`."""
        await self.check()
        known = (self._messages[each] for each in ids if each in self._messages)
        return {row.id: Partial(row.content or "", row.version) for row in known if row.state is not None}

    async def check(self) -> None:
        """Memory is there until the store is closed."""
        if self._closed:
            raise StoreUnavailable("the store in memory is closed")

    async def close(self) -> None:
        """Refuse every further call. What was stored is gone."""
        self._closed = True

    async def message(self, message_id: bytes) -> StoredMessage | None:
        """See `SqlReading.message`."""
        await self.check()
        row = self._messages.get(message_id)
        return None if row is None else surface.stored_message(row)

    async def messages(self, query: MessageQuery) -> Sequence[StoredMessage]:
        """See `SqlReading.messages`."""
        await self.check()
        rows = _page(self._matching(query), query.after, query.limit, ascending=query.ascending)
        return [surface.stored_message(row) for row in rows]

    async def count_messages(self, query: MessageQuery) -> int:
        """See `SqlReading.count_messages`."""
        await self.check()
        return len(self._matching(query))

    async def session(self, session_id: str) -> Session | None:
        """See `SqlReading.session`."""
        await self.check()
        row = self._sessions.get(session_id)
        return None if row is None else surface.session(row)

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """See `SqlReading.sessions`."""
        await self.check()
        found = [row for row in self._sessions.values() if _is_asked_for(row, query)]
        found.sort(key=_latest, reverse=True)
        if query.after is not None:
            found = [row for row in found if _latest(row) < query.after]
        return [surface.session(row) for row in found[: query.limit]]

    async def logs(self, query: LogQuery) -> Sequence[StoredLog]:
        """See `SqlReading.logs`."""
        await self.check()
        rows = _page(self._matching_logs(query), query.after, query.limit, ascending=query.ascending)
        return [surface.stored_log(row) for row in rows]

    async def count_logs(self, query: LogQuery) -> int:
        """See `SqlReading.count_logs`."""
        await self.check()
        return len(self._matching_logs(query))

    async def task(self, task_id: str) -> StoredTask | None:
        """See `SqlReading.task`."""
        await self.check()
        return self._state.task(task_id)

    async def tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """See `SqlReading.tasks`."""
        await self.check()
        return self._state.tasks(query)

    async def count_tasks(self, query: TaskQuery) -> int:
        """See `SqlReading.count_tasks`."""
        await self.check()
        return self._state.count_tasks(query)

    async def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """See `SqlReading.agent_state`."""
        await self.check()
        return self._state.agent_state(agent_id)

    async def agent_states(self, query: AgentStateQuery) -> Sequence[StoredAgentState]:
        """See `SqlReading.agent_states`."""
        await self.check()
        return self._state.agent_states(query)

    async def context(self, context_id: str, now_us: int) -> StoredContext | None:
        """See `SqlReading.context`."""
        await self.check()
        return self._state.context(context_id, now_us)

    async def contexts(self, query: ContextQuery) -> Sequence[StoredContext]:
        """See `SqlReading.contexts`."""
        await self.check()
        return self._state.contexts(query)

    async def count_contexts(self, query: ContextQuery) -> int:
        """See `SqlReading.count_contexts`."""
        await self.check()
        return self._state.count_contexts(query)

    async def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """See `SqlReading.key_value`."""
        await self.check()
        return self._state.key_value(namespace, key, now_us)

    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `SqlReading.key_values`."""
        await self.check()
        return self._state.key_values(query)

    def _matching(self, query: MessageQuery) -> list[Message]:
        return [
            row
            for row in self._messages.values()
            if _has(row, query, _MESSAGE_FIELDS)
            and _is_between(row.created_at_us, query.since_us, query.until_us)
            and (query.include_deleted or row.deleted_at_us is None)
            and (not query.message_types or row.message_type in query.message_types)
        ]

    def _matching_logs(self, query: LogQuery) -> list[LogEvent]:
        return [
            row
            for row in self._logs.values()
            if _has(row, query, _LOG_FIELDS)
            and _is_between(row.created_at_us, query.since_us, query.until_us)
            and (query.min_level is None or row.level >= query.min_level)
        ]

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
        growth(sorted(left, key=_place), into=self._sessions)
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
        return True

    def _spared(self, batch: Sorted) -> Sorted:
        stones = Tombstones(self._tombstones)
        batch = batch._replace(messages=stones.spare(batch.messages), chunks=stones.spare_chunks(batch.chunks))
        for key in stones.used:
            self._tombstones.pop(key, None)
        self._drop_chunks(stones.lost)
        return batch

    def _drop_chunks(self, streams: Collection[bytes]) -> None:
        if streams:
            self._chunks = {key: row for key, row in self._chunks.items() if key[0] not in streams}

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


def _put_if_absent(rows: dict[_Key, _Value], key: _Key, value: _Value) -> bool:
    if key in rows:
        return False
    rows[key] = value
    return True


def _has(row: Message | LogEvent, query: MessageQuery | LogQuery, names: Iterable[str]) -> bool:
    asked = ((name, getattr(query, name)) for name in names)
    return all(value is None or getattr(row, name) == value for name, value in asked)


def _is_between(at_us: int, since_us: int | None, until_us: int | None) -> bool:
    return (since_us is None or at_us >= since_us) and (until_us is None or at_us < until_us)


def _is_asked_for(row: Sequence[Any], query: SessionQuery) -> bool:
    return query.user_id in (None, row[1]) and query.platform in (None, row[2])


def _latest(row: Sequence[Any]) -> tuple[int, str]:
    """When a session had its last message, and its id."""
    return row[5], row[0]


def _page(rows: Iterable[_Row], after: Position | None, limit: int, *, ascending: bool) -> list[_Row]:
    ordered = sorted(rows, key=_place, reverse=not ascending)
    if after is not None:
        ordered = [row for row in ordered if (_place(row) > after if ascending else _place(row) < after)]
    return ordered[:limit]


def _place(row: Message | LogEvent) -> tuple[int, bytes]:
    return row.created_at_us, row.id
