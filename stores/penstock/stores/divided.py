"""A SQL store whose values under keys lie in a store of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.stores.contract import Fence, Partial, Store, Trial
from penstock.stores.key_value_contract import KeyValueStore
from penstock.stores.registry import key_value_store, sql_store
from penstock.wire.records import KeyValue, Record


def state_store(sql_url: str, key_value_url: str) -> Store:
    """The store of all state: one of two where values under keys have a URL of their own. Raises as `sql_store`."""
    sql = sql_store(sql_url)
    if not key_value_url or key_value_url == sql_url:
        return sql
    return DividedStore(sql, key_value_store(key_value_url))


class DividedStore:
    """See `Store`. Writes to the SQL store first, with the fence, then to the other one.

    The two writes are no transaction: a crash between them leaves the second to be done by a repetition, which changes
    nothing in the first. A fence guards the SQL store alone; of values under keys the newer stamp stays in any case.
    """

    def __init__(self, sql: Store, key_values: KeyValueStore) -> None:
        self._sql = sql
        self._key_values = key_values

    async def setup(self, *, migrate: bool = True) -> None:
        """See `Store.setup`."""
        await self._sql.setup(migrate=migrate)
        await self._key_values.setup(migrate=migrate)

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`. After `StoreRejected` the SQL store may have its part: what it says of less is exact."""
        values, others = _parted(records)
        written = await self._sql.write(others, fence) if others else 0
        return written + (await self._key_values.write(values) if values else 0)

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`."""
        is_value = [isinstance(record, KeyValue) for record in records]
        values, others = _parted(records)
        told = {True: iter(await self._key_values.rehearse(values)), False: iter(await self._sql.rehearse(others))}
        return [next(told[each]) for each in is_value]

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """See `Store.partials`."""
        return await self._sql.partials(ids)

    async def check(self) -> None:
        """See `Store.check`."""
        await self._sql.check()
        await self._key_values.check()

    async def close(self) -> None:
        """See `Store.close`."""
        try:
            await self._sql.close()
        finally:
            await self._key_values.close()


def _parted(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Values under keys, and the rest."""
    values: list[Record] = [record for record in records if isinstance(record, KeyValue)]
    return values, [record for record in records if not isinstance(record, KeyValue)]
