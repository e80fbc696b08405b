"""Values under keys in a Redis or Valkey server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence

from penstock.stores import surface
from penstock.stores.contract import Capabilities, Fence
from penstock.stores.errors import StoreUnavailable
from penstock.stores.key_value_only import KeyValueOnly, by_key
from penstock.stores.queries import KeyValueQuery
from penstock.stores.redis.client import OLDER, Change, Client
from penstock.stores.redis.settings import parse
from penstock.stores.rows import StoredKeyValue
from penstock.stores.states import Key, Was, is_live, key_of, placed
from penstock.wire.backoff import next_delay_s
from penstock.wire.records import KeyValue, Record

_TRIES = 100
_BASE_MS, _CAP_MS = 1, 50
"""The back-off between tries of keys that others change, too."""


def open_key_values(url: str) -> RedisKeyValues:
    """The store on the server that *url* names. Nothing is opened yet.

    Raises:
        BadStoreURL: The client does not understand it, or an option's value makes no sense.
    """
    return RedisKeyValues(url)


class RedisKeyValues(KeyValueOnly):
    """See `KeyValueStore`. A write is decided by the server, stamp against stamp. What `put` makes of a row is decided
    here, from what was read; the server then puts it in the place of just that one, or has it decided anew. So each key
    changes in one step, and a batch key by key.

    How durable a write is, the server's settings say: with `appendfsync everysec` a crash takes the last second.
    """

    capabilities = Capabilities(shared=True, fenced=False)

    def __init__(self, url: str) -> None:
        settings = parse(url)
        self.ttl_s = settings.ttl or None
        self._where = settings.where
        self._client = Client(settings)
        self._rng = random.Random()  # noqa: S311 - jitter

    async def setup(self, *, migrate: bool = True) -> None:  # noqa: ARG002 - nothing to migrate
        """See `Store.setup`. There is nothing to make; the server must answer."""
        await self._client.ping()

    async def check(self) -> None:
        """See `Store.check`."""
        await self._client.ping()

    async def close(self) -> None:
        """See `Store.close`."""
        await self._client.close()

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:  # noqa: ARG002 - stamps guard
        """See `Store.write` and `KeyValueStore`: key by key. A fence is not looked at."""
        changes = [Change(key_of(record), OLDER, record) for record in self._fit(records)]
        return len(changes) - len(await self._client.replace(changes))

    async def put(self, records: Sequence[KeyValue], now_us: int, *, if_absent: bool = False) -> Sequence[Was]:
        """See `KeyValueStore.put`. Key by key."""
        fit = self._fit(records)
        waiting = by_key(fit)
        found: dict[Key, Iterator[Was]] = {}
        for tries in range(1, _TRIES):
            rows = await self._rows(waiting.keys())
            changes: list[Change] = []
            for key, some in waiting.items():
                row = rows.get(key)
                becomes, was = placed([row] if row else [], some, now_us, if_absent=if_absent)
                found[key] = iter(was)
                changes += [Change(key, row.stamp.hex() if row else "", each) for each in becomes]
            missed = await self._client.replace(changes)
            if not missed:
                return [next(found[key_of(record)]) for record in fit]
            waiting = {change.key: waiting[change.key] for change in missed}
            await asyncio.sleep(next_delay_s(tries, _BASE_MS, _CAP_MS, self._rng))
        raise StoreUnavailable(f"{self._where}: {len(waiting)} keys were changed by others {_TRIES} times in a row")

    async def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """See `KeyValueReading.key_value`."""
        found = await self.key_values_of(namespace, [key], now_us)
        return found[0] if found else None

    async def key_values_of(self, namespace: str, keys: Sequence[str], now_us: int) -> Sequence[StoredKeyValue]:
        """See `KeyValueReading.key_values_of`."""
        rows = await self._client.values([(namespace, key) for key in dict.fromkeys(keys)])
        return [surface.stored_key_value(row) for row in rows.values() if is_live(row, now_us)]

    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `KeyValueReading.key_values`. Every page walks the keys of the server; `under` does so once for all."""
        found: list[StoredKeyValue] = []
        after = None if query.after is None else str(query.after.id)
        while len(found) < query.limit:
            keys = await self._first_keys(query, after)
            found += await self.key_values_of(query.namespace, keys[: query.limit], query.now_us)
            if len(keys) <= query.limit:
                break
            after = keys[query.limit - 1]  # some have expired in between
        return sorted(found, key=lambda each: each.key)[: query.limit]

    async def under(self, namespace: str, prefix: str, now_us: int) -> AsyncIterator[Sequence[StoredKeyValue]]:
        """See `KeyValueStore.under`."""
        async for keys in self._client.keys(namespace, prefix):
            if found := await self.key_values_of(namespace, [key for _, key in keys], now_us):
                yield found

    async def _first_keys(self, query: KeyValueQuery, after: str | None) -> list[str]:
        """The first keys behind *after*, in order: one more than a page has, if there are so many."""
        most = query.limit + 1
        kept: set[str] = set()
        async for keys in self._client.keys(query.namespace, query.prefix):
            kept.update(key for _, key in keys if after is None or key > after)
            if len(kept) > 4 * most:
                kept = set(sorted(kept)[:most])
        return sorted(kept)[:most]

    async def _rows(self, keys: Collection[Key]) -> Mapping[Key, KeyValue]:
        return await self._client.rows(list(keys))
