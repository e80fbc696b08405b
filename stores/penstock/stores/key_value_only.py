"""What stores that keep nothing but values under keys have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from penstock.stores.contract import Partial, Trial
from penstock.stores.errors import StoreRejected
from penstock.stores.soundness import refuse_unsound
from penstock.stores.states import Key, Row, States, key_of
from penstock.wire.records import KeyValue, Record, kind_of


class KeyValueOnly(ABC):
    """See `KeyValueStore`."""

    ttl_s: float | None = None
    """See `KeyValueStore.ttl_s`."""

    @abstractmethod
    async def _rows(self, keys: Collection[Key]) -> Mapping[Key, KeyValue]:
        """What is stored under *keys*, or was and is remembered."""

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`. Looks at what is there and writes nothing."""
        told: list[KeyValue | str] = [self._fit_or_refused(record) for record in records]
        rows: dict[Key, Row] = dict(await self._rows({key_of(each) for each in told if isinstance(each, KeyValue)}))
        return [self._tried(each, rows) for each in told]

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:  # noqa: ARG002 - keeps no messages
        """See `Store.partials`."""
        return {}

    def _fit(self, records: Sequence[Record]) -> list[KeyValue]:
        """*records* as they are kept: with the store's time to live where they have none.

        Raises:
            StoreRejected: One that this store does not keep.
        """
        values = [record for record in records if isinstance(record, KeyValue)]
        if len(values) < len(records):
            other = next(record for record in records if not isinstance(record, KeyValue))
            raise StoreRejected(
                f"this store keeps only values under keys; a {kind_of(other).name} belongs to PENSTOCK_SQL_URL"
            )
        refuse_unsound(values)
        if self.ttl_s is None:
            return values
        life_us = round(self.ttl_s * 1_000_000)
        return [
            each
            if each.expires_at_us is not None or each.deleted_at_us is not None
            else each._replace(
                expires_at_us=each.created_at_us + life_us
            )  # not from now: a redelivery prolongs nothing
            for each in values
        ]

    def _fit_or_refused(self, record: Record) -> KeyValue | str:
        try:
            return self._fit([record])[0]
        except StoreRejected as exc:
            return str(exc)

    @staticmethod
    def _tried(told: KeyValue | str, rows: dict[Key, Row]) -> Trial:
        if isinstance(told, str):
            return Trial(is_new=False, refusal=told)
        key = key_of(told)
        changed, taken = States([told]).changed(KeyValue, [rows[key]] if key in rows else [])
        if changed:
            rows[key] = changed[0]
        return Trial(is_new=taken > 0)


def by_key(records: Sequence[KeyValue]) -> dict[Key, list[KeyValue]]:
    """*records*, in their order, by what they are found by."""
    found: dict[Key, list[KeyValue]] = {}
    for record in records:
        found.setdefault(key_of(record), []).append(record)
    return found
