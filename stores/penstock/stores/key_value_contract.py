"""What a store of values under keys is: the part of a SQL store that agents also use by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from penstock.stores.contract import Capabilities, Store
from penstock.stores.queries import KeyValueQuery, Position
from penstock.stores.rows import StoredKeyValue
from penstock.stores.states import Was
from penstock.wire.records import KeyValue

PAGE = 1_000
"""Values that are read, and held, at once."""


class KeyValueReading(Protocol):
    """What a store answers about values under keys. Prefixes have no wildcards: `%`, `_`, `*`, `[` mean themselves."""

    async def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """The value under one key; None when it is not there, deleted, or expired at *now_us*."""
        ...

    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """At most `query.limit` values after `query.after`, by key."""
        ...

    async def key_values_of(self, namespace: str, keys: Sequence[str], now_us: int) -> Sequence[StoredKeyValue]:
        """The values under those of *keys* that have one at *now_us*, in any order."""
        ...


class KeyValueStore(Store, KeyValueReading, Protocol):
    """A store of values under keys.

    `write` takes `KeyValue` records, and the newer stamp stays: whatever a worker brings again or late. Where a batch
    cannot be one transaction it is one a key: after an error some keys are written, and a repetition writes the rest.
    """

    capabilities: Capabilities
    ttl_s: float | None
    """Seconds to live of values that are written without an expiry; None for ever."""

    async def put(self, records: Sequence[KeyValue], now_us: int, *, if_absent: bool = False) -> Sequence[Was]:
        """Let every record take effect now, for those who use the store directly: the last call wins.

        A record whose stamp is not above that of its key gets one that is. With *if_absent* those are left out whose
        key has a value at *now_us*: of any number of callers, in any number of processes, one finds none. Returns what
        was there before, record by record. Deletions leave tombstones, as `write` does.

        Not to be repeated blindly: a second call finds what the first one has put there.

        Raises:
            StoreUnavailable: No answer; all or some of it may have taken effect.
            StoreRejected: Permanently refused; nothing has.
        """
        ...

    def under(self, namespace: str, prefix: str, now_us: int) -> AsyncIterator[Sequence[StoredKeyValue]]:
        """Every value whose key begins with *prefix*, some at a time, in any order; one may come more than once.

        What is written meanwhile may be among them or not.
        """
        ...


class PagedKeyValues(ABC):
    """`KeyValueStore.under` for stores that have keys in their order."""

    ttl_s: float | None = None
    """See `KeyValueStore.ttl_s`."""

    @abstractmethod
    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `KeyValueReading.key_values`."""

    async def under(self, namespace: str, prefix: str, now_us: int) -> AsyncIterator[Sequence[StoredKeyValue]]:
        """See `KeyValueStore.under`."""
        page: Sequence[StoredKeyValue] = ()
        after: Position | None = None
        while after is None or len(page) == PAGE:
            query = KeyValueQuery(now_us=now_us, namespace=namespace, prefix=prefix, limit=PAGE, after=after)
            page = await self.key_values(query)
            if not page:
                return
            after = Position(0, page[-1].key)
            yield page
