"""Messages, chunks and logs in this process's memory: the contract with nothing in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from penstock.stores import surface
from penstock.stores.contract import Capabilities, Fence, Partial
from penstock.stores.errors import StaleOwner, StoreRejected, StoreUnavailable
from penstock.stores.rows import LogQuery, MessageQuery, Position, Session, SessionQuery, StoredLog, StoredMessage
from penstock.stores.sessions import growth
from penstock.wire.records import Embedding, LogEvent, Message, Record, StreamChunk

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
        self._chunks: dict[tuple[bytes, int], StreamChunk] = {}
        self._logs: dict[bytes, LogEvent] = {}
        self._sessions: dict[str, list[Any]] = {}
        self._epochs: dict[str, int] = {}
        self._closed = False

    async def setup(self) -> None:
        """Nothing to create."""
        await self.check()

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`."""
        await self.check()
        if any(isinstance(record, Embedding) for record in records):
            raise StoreRejected("this store keeps no vectors; an embedding belongs to PENSTOCK_VECTOR_URL")
        if fence is not None:
            self._check_epoch(fence)
        return sum(self._put(record) for record in records)

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

    def _put(self, record: Record) -> bool:
        if isinstance(record, Message):
            return self._put_message(record)
        if isinstance(record, LogEvent):
            return _put_if_absent(self._logs, record.id, record)
        chunk = cast("StreamChunk", record)
        return _put_if_absent(self._chunks, (chunk.stream_id, chunk.seq), chunk)

    def _put_message(self, message: Message) -> bool:
        known = self._messages.get(message.id)
        if known is None:
            self._messages[message.id] = message
            growth([message], into=self._sessions)
            return True
        if known.version >= message.version:
            return False
        # Time and session stay: a message keeps its place.
        self._messages[message.id] = message._replace(created_at_us=known.created_at_us, session_id=known.session_id)
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
