"""Values under keys that a worker stores behind the calls, and that are read before it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from penstock.direct.key_values import KeyValues
from penstock.direct.overlay import Overlay
from penstock.stores.errors import StoreUnavailable
from penstock.stores.key_value_contract import KeyValueStore
from penstock.stores.states import is_live
from penstock.wire.frames import decode
from penstock.wire.logs import logger
from penstock.wire.records import KeyValue
from penstock.wire.text import clean_text, load_value

if TYPE_CHECKING:
    from penstock.producer import Producer, Receipt


class BehindKeyValues(KeyValues):
    """`set` and the deletions go the way of every record, through the producer, and return before they are stored.

    What this object has set or deleted it reads at once, from memory, until the store has it. `set_if_absent` asks the
    queue server, which knows what every producer has sent, but nothing that was set in the store directly.

    Of those who set one key the last call wins by the clocks of those who called: a worker does not know who was last.

    Calls raise what the producer's raise, and `BufferFull` where too many keys wait to be stored. `get` and `exists`
    need the store only for keys that were not set here lately; where it is away, only they fail.
    """

    def __init__(
        self,
        store: KeyValueStore,
        namespace: str,
        clock: Callable[[], int],
        producer: Producer,
        unstored: int,
        *,
        is_ours: bool,
        migrate: bool,
    ) -> None:
        super().__init__(store, namespace, clock, is_ours=is_ours, migrate=migrate)
        self._producer = producer
        self._overlay = Overlay(unstored)

    async def close(self) -> None:
        """See `KeyValues.close`. The producer stays open; what it was handed is stored all the same."""
        await self._overlay.close()
        await super().close()

    async def set(self, key: str, value: Any, ttl_s: float | None = None) -> None:
        """See `KeyValues.set`. Waits for nothing. What somebody has set whose clock is ahead stays."""
        self._require_open()
        key = clean_text("key", key)
        self._overlay.refuse_full(key)
        self._note(self._producer.key_value(key=key, value=value, namespace=self.namespace, ttl_s=self._life_s(ttl_s)))

    async def set_if_absent(self, key: str, value: Any, ttl_s: float | None = None) -> bool:
        """See `KeyValues.set_if_absent`, and `Producer.set_if_absent`: the queue server decides."""
        self._require_open()
        key = clean_text("key", key)
        self._overlay.refuse_full(key)
        claimed = await self._producer.claim(key=key, value=value, namespace=self.namespace, ttl_s=self._life_s(ttl_s))
        if claimed is None:
            return False
        record, receipt = claimed
        known = self._overlay.find(record.key)
        if known is None or known.stamp < record.stamp:
            self._overlay.note(record, receipt)
        return True

    async def delete(self, key: str) -> bool:
        """See `KeyValues.delete`. Reads first what is there, unless it was set here lately.

        The key is deleted in any case: after `StoreUnavailable` it is only not known whether it had a value.
        """
        self._require_open()
        key = clean_text("key", key)
        self._overlay.refuse_full(key)
        try:
            return key in await self._found([key])
        finally:
            self._hand_over_deletion(key)

    async def delete_prefix(self, prefix: str) -> int:
        """See `KeyValues.delete_prefix`. Waits while the producer, or what is kept to be read at once, is full."""
        gone = 0
        async for some in self._walked(clean_text("prefix", prefix)):
            for key in some:
                known = self._overlay.find(key)
                if known is not None and known.deleted_at_us is not None:
                    continue  # a store may tell a key twice
                await self._overlay.room()
                self._hand_over_deletion(key)
                gone += 1
            await self._producer.ready()
        return gone

    async def _set_up(self) -> None:
        try:
            await super()._set_up()
        except StoreUnavailable as exc:
            # What is set is safe without it; what is read tells for itself.
            logger("penstock.direct").warning("store away", reason=str(exc))

    async def _found(self, keys: Sequence[str]) -> dict[str, Any]:
        waiting = {key: record for key in keys if (record := self._overlay.find(key)) is not None}
        found = await super()._found([key for key in keys if key not in waiting])
        return found | self._live(waiting)

    async def _walked(self, prefix: str) -> AsyncIterator[Mapping[str, Any]]:
        # Looked at before the store is: what is stored meanwhile is then found there or here.
        waiting = self._overlay.under(prefix)
        async for some in super()._walked(prefix):
            yield {key: value for key, value in some.items() if key not in waiting}
        yield self._live(waiting)

    def _live(self, waiting: Mapping[str, KeyValue]) -> dict[str, Any]:
        now_us = self._clock()
        return {key: load_value(record.value) for key, record in waiting.items() if is_live(record, now_us)}

    def _hand_over_deletion(self, key: str) -> None:
        self._note(self._producer.delete_key_value(key, self.namespace))

    def _note(self, receipt: Receipt) -> None:
        if isinstance(receipt.fate, Exception):
            raise receipt.fate  # the strategy leaves it out, or there was no room for it
        self._overlay.note(cast("KeyValue", decode(receipt.packed)), receipt)

    def _life_s(self, ttl_s: float | None) -> float | None:
        """A store's own time to live is told to the queue as well, or a claim would hold a key for ever."""
        return self._store.ttl_s if ttl_s is None else ttl_s
