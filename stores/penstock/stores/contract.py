"""What a store is: few methods, the same for every backend. Vector stores have more (`vector_contract`).

`tests/conformance` holds one class per contract that every backend passes unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from penstock.stores.health import Health, Totals
from penstock.stores.queries import (
    AgentStateQuery,
    ContextQuery,
    FoundQuery,
    KeyValueQuery,
    LogQuery,
    MessageQuery,
    SessionQuery,
    TaskQuery,
)
from penstock.stores.rows import (
    AgentStatistics,
    Session,
    StoredAgentState,
    StoredContext,
    StoredKeyValue,
    StoredLog,
    StoredMessage,
    StoredTask,
)
from penstock.stores.schemas import SchemaVersion
from penstock.stores.upkeep import SqlUpkeep
from penstock.wire.records import Record

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class Fence(NamedTuple):
    """Who writes: the owner of a partition, with the epoch of its lease."""

    partition: str
    """Unique over all namespaces that share the store: `namespace/lane:number`."""
    epoch: int


class Partial(NamedTuple):
    """What a store holds of a stream."""

    content: str
    version: int


class Trial(NamedTuple):
    """What would become of a record."""

    is_new: bool
    """It would take effect. Else it is there already, or something newer is."""
    refusal: str | None = None
    """Why it would be refused."""


class Store(Protocol):
    """A place where records can be written many times with one effect."""

    async def setup(self, *, migrate: bool = True) -> None:
        """Create or migrate what the store needs. May be repeated, and by several processes at once.

        Without *migrate* only look: at the schema of the release before, what that lacks raises `SchemaTooOld` when it
        is written, until somebody has migrated; everything else goes on.

        Raises:
            StoreUnavailable: Nothing is known.
            StoreRejected: The schema is newer than this code.
            SchemaTooOld: Without *migrate*: it is older than the one of the release before, or not there.
        """
        ...

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """Make every record durable, in order, or none of them. Returns how many were new or newer.

        Records that are there already are skipped without error, so the call may be repeated:
        a message with version 0, a chunk and a log event is kept as it was first written; a message with a higher
        version than the stored one replaces it; an embedding or its deletion replaces what was created earlier; state
        is replaced by a higher stamp (`states`). Counters of a session move only for messages that were new.

        What was deleted does not come back with a record from before its deletion: messages by their time, state by
        its stamp. A message that is marked as deleted stays so, whatever replaces it.

        With a *fence* the epoch is checked and kept in the same transaction, where the store has one.

        A cancelled call leaves the batch either fully written or not at all, and the store usable.

        Raises:
            StoreUnavailable: No answer; the batch may or may not be written.
            SchemaTooOld: The schema has no place for some of it yet; nothing was written.
            StoreRejected: Permanently refused; nothing was written.
            StaleOwner: A higher epoch has written; nothing was written.
        """
        ...

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """What `write` would make of each record, in order, were those before it written. Changes nothing.

        A SQL store writes them in a transaction and rolls it back, so others may have to wait for it meanwhile: give it
        a few at a time. A vector store looks at what `write` checks, and at what is there.

        Raises:
            StoreUnavailable: Nothing is known.
            SchemaTooOld: The schema has no place for some of it yet.
        """
        ...

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """Content and version of those messages among *ids* that came as streams: their version is above 0.

        The content of complete ones is left out. A vector store has none.
        """
        ...

    async def check(self) -> None:
        """Answer, or raise `StoreUnavailable`. Reads nothing large."""
        ...

    async def close(self) -> None:
        """Finish the write that runs, then let go of everything. May be repeated."""
        ...


class SqlReading(Protocol):
    """What a SQL backend answers. `penstock.query.Reader` is its only caller and owns cursors and pages."""

    async def message(self, message_id: bytes) -> StoredMessage | None:
        """One message, deleted or not; None when it is not there."""
        ...

    async def messages(self, query: MessageQuery) -> Sequence[StoredMessage]:
        """At most `query.limit` messages after `query.after`, by (created_at, id)."""
        ...

    async def count_messages(self, query: MessageQuery) -> int:
        """How many messages match, whatever limit and after say."""
        ...

    async def search_messages(self, query: FoundQuery) -> Sequence[StoredMessage]:
        """At most `query.limit` messages after `query.after` that hold what is searched for, by (created_at, id), the
        newest first. Of those that `SqlUpkeep.refresh_search` has seen: one that was replaced since is not among them.

        Raises:
            SchemaTooOld: The schema has no index of words yet.
        """
        ...

    async def session(self, session_id: str, *, with_last_message: bool = False) -> Session | None:
        """One session; None when no message of it was stored."""
        ...

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """At most `query.limit` sessions, latest message first, after `query.after`, with their last messages
        where `query.with_last_message`."""
        ...

    async def logs(self, query: LogQuery) -> Sequence[StoredLog]:
        """At most `query.limit` log events after `query.after`, by (created_at, id)."""
        ...

    async def count_logs(self, query: LogQuery) -> int:
        """How many log events match, whatever limit and after say."""
        ...

    async def task(self, task_id: str) -> StoredTask | None:
        """One task; None when it is not there, or deleted."""
        ...

    async def tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """At most `query.limit` tasks after `query.after`, by (created_at, id)."""
        ...

    async def count_tasks(self, query: TaskQuery) -> int:
        """How many tasks match, whatever limit and after say."""
        ...

    async def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """The state of one agent; None when it is not there, or deleted."""
        ...

    async def agent_states(self, query: AgentStateQuery) -> Sequence[StoredAgentState]:
        """At most `query.limit` states after `query.after`, by agent id."""
        ...

    async def context(self, context_id: str, now_us: int) -> StoredContext | None:
        """One context; None when it is not there, deleted, or expired at *now_us*."""
        ...

    async def contexts(self, query: ContextQuery) -> Sequence[StoredContext]:
        """At most `query.limit` contexts after `query.after`, by (created_at, id)."""
        ...

    async def count_contexts(self, query: ContextQuery) -> int:
        """How many contexts match, whatever limit and after say."""
        ...

    async def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """The value under one key; None when it is not there, deleted, or expired at *now_us*."""
        ...

    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """At most `query.limit` values after `query.after`, by key."""
        ...

    async def key_values_of(self, namespace: str, keys: Sequence[str], now_us: int) -> Sequence[StoredKeyValue]:
        """The values under those of *keys* that have one at *now_us*, in any order."""
        ...

    async def agent_statistics(self, agent_id: str, now_us: int) -> AgentStatistics:
        """What one agent has done; contexts are counted that have not expired at *now_us*."""
        ...

    async def walk(self, table: str, after: Record | None, limit: int) -> Sequence[Record]:
        """At most *limit* rows of *table* behind the row of *after*, in the order of the table's key, each as the
        record that makes it (`walking.TABLES`).

        Every row: tombstones, what is deleted, what has expired. Written in the order of `walking.TABLES` into an
        empty store, they make the same rows, and the sessions that follow from them. A chunk's row keeps no id, no
        session and no role; in their places stand its stream's id and empty texts.
        """
        ...


class SqlInspection(Protocol):
    """What can be seen of a SQL backend beside its records."""

    async def schema(self) -> SchemaVersion:
        """How far the schema has come. Changes nothing.

        Raises:
            StoreUnavailable: Nothing is known.
            StoreRejected: The schema is newer than this code, or was made from other files.
        """
        ...

    async def health(self) -> Health:
        """Look whether the store answers, has its schema and can be written to, each with its latency. Raises nothing.

        Nothing is left behind: what is written to see whether it can be is taken back.
        """
        ...

    async def totals(self) -> Totals:
        """How many rows there are, and bytes. Cheap: large tables may be estimated."""
        ...

    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine for the same database, a new one by each call, and the caller's to dispose of.

        Raises:
            MissingExtra: SQLAlchemy is not installed.
            BadStoreURL: This backend has no database.
        """
        ...


class SqlStore(Store, SqlReading, SqlInspection, SqlUpkeep, Protocol):
    """A SQL backend: messages, chunks, logs and state."""

    def snapshot(self) -> AbstractAsyncContextManager[SqlReading]:
        """The store as it is now, for as long as the block lasts, whatever is written meanwhile.

        It costs the backend room for what is replaced meanwhile, and a connection. Raises as a question does.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do, as data; the conformance classes test both directions."""

    shared: bool
    """Several processes may have the store open."""
    fenced: bool
    """`Fence` is checked in the write's own transaction."""
