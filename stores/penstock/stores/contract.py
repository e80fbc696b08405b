"""What a store is: few methods, the same for every backend.

`tests/conformance` holds one class per contract that every backend passes unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from penstock.stores.rows import Hit, LogQuery, MessageQuery, Session, SessionQuery, StoredLog, StoredMessage
from penstock.wire.records import Record


class Fence(NamedTuple):
    """Who writes: the owner of a partition, with the epoch of its lease."""

    partition: str
    """Unique over all namespaces that share the store: `namespace/lane:number`."""
    epoch: int


class Partial(NamedTuple):
    """What a store holds of a stream that was stored early."""

    content: str
    version: int


class Store(Protocol):
    """A place where records can be written many times with one effect."""

    async def setup(self) -> None:
        """Create or migrate what the store needs. May be repeated, and by several processes at once.

        Raises:
            StoreUnavailable: Nothing is known.
            StoreRejected: The schema is newer than this code.
        """
        ...

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """Make every record durable, in order, or none of them. Returns how many were new or newer.

        Records that are there already are skipped without error, so the call may be repeated:
        a message with version 0, a chunk and a log event is kept as it was first written; a message with a higher
        version than the stored one replaces it; an embedding replaces one that was created earlier.
        Counters of a session move only for messages that were new.

        With a *fence* the epoch is checked and kept in the same transaction, where the store has one.

        A cancelled call leaves the batch either fully written or not at all, and the store usable.

        Raises:
            StoreUnavailable: No answer; the batch may or may not be written.
            StoreRejected: Permanently refused; nothing was written.
            StaleOwner: A higher epoch has written; nothing was written.
        """
        ...

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """Content and version of those messages among *ids* that are stored with state `interrupted`
        or `streaming`. A vector store has none."""
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

    async def session(self, session_id: str) -> Session | None:
        """One session; None when no message of it was stored."""
        ...

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """At most `query.limit` sessions, latest message first, after `query.after`."""
        ...

    async def logs(self, query: LogQuery) -> Sequence[StoredLog]:
        """At most `query.limit` log events after `query.after`, by (created_at, id)."""
        ...

    async def count_logs(self, query: LogQuery) -> int:
        """How many log events match, whatever limit and after say."""
        ...


class VectorReading(Protocol):
    """What a vector backend answers."""

    async def search(
        self, collection: str, vector: bytes, top_k: int, where: Mapping[str, Any] | None = None
    ) -> Sequence[Hit]:
        """The *top_k* vectors nearest to *vector* (float32 bytes) by cosine, best first, that match the
        filter *where*. A collection that does not exist holds nothing.

        Raises:
            FilterError: *where* is malformed or names an unknown operator.
            DimensionMismatch: *vector* has another length than the collection's.
        """
        ...

    async def count_vectors(self, collection: str) -> int:
        """How many vectors the collection holds; 0 when it does not exist."""
        ...

    async def collections(self) -> Sequence[str]:
        """The names of all collections, sorted."""
        ...


class SqlStore(Store, SqlReading, Protocol):
    """A SQL backend: messages, chunks and logs."""


class VectorStore(Store, VectorReading, Protocol):
    """A vector backend: embeddings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do, as data; the conformance classes test both directions."""

    shared: bool
    """Several processes may have the store open."""
    fenced: bool
    """`Fence` is checked in the write's own transaction."""
