"""Values under keys for agents: set, claimed, read and deleted at once, in any store that keeps them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.direct.block import SharedBlock
from penstock.direct.errors import StoreNotOpen
from penstock.stores.key_value_contract import PAGE, KeyValueStore
from penstock.stores.registry import key_value_store
from penstock.stores.rows import StoredKeyValue
from penstock.stores.states import Was
from penstock.wire.building_state import DEFAULT_NAMESPACE, StateBuilder
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import encode
from penstock.wire.ids import RisingClock, StampClock, new_id, wall_clock_us
from penstock.wire.records import KeyValue
from penstock.wire.text import clean_id, clean_text

if TYPE_CHECKING:
    from penstock.producer import Producer


UNSTORED = 10_000
"""Keys that may wait to be stored, each with its value in memory."""


def open_key_values(
    store: str | KeyValueStore,
    *,
    namespace: str = DEFAULT_NAMESPACE,
    producer: Producer | None = None,
    clock: Callable[[], int] = wall_clock_us,
    migrate: bool = True,
    unstored: int = UNSTORED,
) -> KeyValues:
    """The values of one namespace in the store at a URL, to be opened by `async with`.

        async with open_key_values("redis://127.0.0.1:6379/1") as values:
            await values.set("theme", "dark", ttl_s=3600)

    With a *producer* everything is written behind: `set` returns at once, and a worker stores the value. The store is
    the one that the worker writes to, and is only read. What was set here is read here at once.

    An open store may be given in place of a URL; it stays the caller's to close. *clock* tells what has expired, in
    microseconds since 1970 UTC. Without *migrate* the schema of a SQL store is left as it is. At most *unstored* keys
    that were handed to a producer are kept in memory until they are stored.

    Raises:
        BadStoreURL: No backend has the URL's scheme, its driver is missing, or its options make no sense.
    """
    is_ours = isinstance(store, str)
    opened = key_value_store(store) if isinstance(store, str) else store
    if producer is None:
        return DirectKeyValues(opened, namespace, clock, is_ours=is_ours, migrate=migrate)
    from penstock.direct.behind import BehindKeyValues  # noqa: PLC0415 - it stands above this module

    return BehindKeyValues(opened, namespace, clock, producer, unstored, is_ours=is_ours, migrate=migrate)


class KeyValues(SharedBlock):
    """The values of one namespace. Any number of tasks of one loop may use it.

    A value is anything that JSON has a word for; a text stays just that text. A prefix has no wildcards: `%`, `_`, `*`
    and `[` mean themselves. What was deleted, or whose time is over, is not there.

    Calls raise `InvalidRecord` and `RecordTooLarge` for what no store takes, `StoreUnavailable` where the store does
    not answer, and `StoreNotOpen` outside of the block.
    """

    def __init__(
        self, store: KeyValueStore, namespace: str, clock: Callable[[], int], *, is_ours: bool, migrate: bool
    ) -> None:
        self.namespace = clean_id("namespace", namespace)
        self._store = store
        self._clock = clock
        self._is_ours = is_ours
        self._migrate = migrate
        self._opening = asyncio.Lock()
        self._is_open = False
        self._closed = False

    async def open(self) -> None:
        """Open the store, and make what it lacks. Does nothing when it is open.

        Raises:
            StoreUnavailable: It does not answer; may be called again.
            StoreRejected: Its schema is newer than this release.
            SchemaTooOld: Nobody may migrate it, and it is too old to run on.
            StoreNotOpen: It was closed with these values.
        """
        async with self._opening:
            if self._closed:
                raise StoreNotOpen("the values are closed; open_key_values(...) gives new ones")
            if not self._is_open:
                await self._set_up()
                self._is_open = True

    async def close(self) -> None:
        """Finish what runs, then let go of everything. May be repeated."""
        async with self._opening:
            self._is_open = False
            if self._is_ours:
                self._closed = True
                await self._store.close()

    @abstractmethod
    async def set(self, key: str, value: Any, ttl_s: float | None = None) -> None:
        """Set the value under a key. After *ttl_s* seconds it is not there any more.

        Whatever was there before is replaced, with its time to live. The last call wins, of any process; with a
        producer by the clocks of those who call.
        """

    @abstractmethod
    async def set_if_absent(self, key: str, value: Any, ttl_s: float | None = None) -> bool:
        """Set the value under a key that has none: True. False where it has one, and nothing is changed.

        Of any number of callers, in any number of processes, one gets True. After `StoreUnavailable` the key may or may
        not have been set; a value that only you give tells later whose it is.
        """

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Delete a key. Whether it had a value."""

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> int:
        """Delete every key that begins with *prefix*. How many had a value.

        Key by key: after an error some are deleted. What is set meanwhile may stay.
        """

    async def get(self, key: str, default: Any = None) -> Any:
        """The value under a key, which may be None; *default* where it has none."""
        key = clean_text("key", key)
        found = await self._found([key])
        return found.get(key, default)

    async def get_many(self, keys: Sequence[str], default: Any = None) -> list[Any]:
        """The values under *keys*, in their order, with *default* for those that have none."""
        if isinstance(keys, str):
            raise InvalidRecord("keys", keys, "a list of keys is needed")
        wanted = [clean_text("keys", key) for key in keys]
        found: dict[str, Any] = {}
        for at in range(0, len(wanted), PAGE):
            found.update(await self._found(wanted[at : at + PAGE]))
        return [found.get(key, default) for key in wanted]

    async def exists(self, key: str) -> bool:
        """Whether there is a value under a key."""
        key = clean_text("key", key)
        return key in await self._found([key])

    async def get_prefix(self, prefix: str) -> dict[str, Any]:
        """The values under every key that begins with *prefix*, by key. All of them are held in memory."""
        found: dict[str, Any] = {}
        async for some in self._walked(clean_text("prefix", prefix)):
            found.update(some)
        return {key: found[key] for key in sorted(found)}

    async def _set_up(self) -> None:
        await self._store.setup(migrate=self._migrate)

    async def _found(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values under those of *keys* that have one."""
        self._require_open()
        return by_key(await self._store.key_values_of(self.namespace, keys, self._clock())) if keys else {}

    async def _walked(self, prefix: str) -> AsyncIterator[Mapping[str, Any]]:
        """The values under *prefix*, some at a time."""
        self._require_open()
        async for some in self._store.under(self.namespace, prefix, self._clock()):
            yield by_key(some)

    def _require_open(self) -> None:
        if not self._is_open:
            raise StoreNotOpen("the values are not open; use them inside of `async with open_key_values(...)`")


class DirectKeyValues(KeyValues):
    """Every call is durable when it returns, as far as the store is."""

    def __init__(
        self, store: KeyValueStore, namespace: str, clock: Callable[[], int], *, is_ours: bool, migrate: bool
    ) -> None:
        super().__init__(store, namespace, clock, is_ours=is_ours, migrate=migrate)
        self._states = StateBuilder(RisingClock(clock), StampClock(new_id()[8:], clock))

    async def set(self, key: str, value: Any, ttl_s: float | None = None) -> None:
        """See `KeyValues.set`."""
        self._require_open()
        record = self._made(key, value, ttl_s)
        # Writes that wait for a store share a commit, and only where another process's clock is ahead is it not taken.
        if not await self._store.write([record]):
            await self._put([record])

    async def set_if_absent(self, key: str, value: Any, ttl_s: float | None = None) -> bool:
        """See `KeyValues.set_if_absent`."""
        (was,) = await self._put([self._made(key, value, ttl_s)], if_absent=True)
        return not was.live

    async def delete(self, key: str) -> bool:
        """See `KeyValues.delete`."""
        (was,) = await self._put([self._states.deleted_key_value(key, self.namespace)])
        return was.live

    async def delete_prefix(self, prefix: str) -> int:
        """See `KeyValues.delete_prefix`."""
        gone = 0
        async for some in self._walked(clean_text("prefix", prefix)):
            was = await self._put([self._states.deleted_key_value(key, self.namespace) for key in some])
            gone += sum(each.live for each in was)
        return gone

    def _made(self, key: str, value: Any, ttl_s: float | None) -> KeyValue:
        record = self._states.key_value(key=key, value=value, namespace=self.namespace, ttl_s=ttl_s)
        encode(record)  # for its limit alone: what is stored must also fit into a frame
        return record

    async def _put(self, records: Sequence[KeyValue], *, if_absent: bool = False) -> Sequence[Was]:
        self._require_open()
        found = await self._store.put(records, self._clock(), if_absent=if_absent)
        for was in found:
            self._states.stamps.observe(was.stamp)
        return found


def by_key(rows: Sequence[StoredKeyValue]) -> dict[str, Any]:
    """The values of *rows*."""
    return {row.key: row.value for row in rows}
