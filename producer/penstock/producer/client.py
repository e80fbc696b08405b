"""The producer for asynchronous programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from uuid import UUID

from penstock.producer.buffer import Buffer
from penstock.producer.calls import Calls
from penstock.producer.claim import PATIENCE_S
from penstock.producer.overflow import Drops, DropWhenFull, Overflow, RaiseWhenFull
from penstock.producer.receipt import Receipt, at_level
from penstock.producer.settings import ProducerSettings, settings_for
from penstock.producer.stream import Stream
from penstock.wire.building_state import DEFAULT_NAMESPACE
from penstock.wire.frames import decode
from penstock.wire.ids import RisingClock
from penstock.wire.levels import LEVELS, Durability, level_of
from penstock.wire.records import KeyValue
from penstock.wire.settings import from_mapping

if TYPE_CHECKING:
    from penstock.producer.outbox import Outbox


_new = object.__new__


class Producer(Calls[Receipt]):
    """Hands records over to the queue, from one event loop.

    `message`, `log`, `embedding` and a stream's `write` are plain calls that touch memory only. A task
    of the producer sends what they leave, every few milliseconds. Not thread-safe: threads use
    `BlockingProducer`.

        async with Producer("redis://127.0.0.1:6379/0") as producer:
            receipt = producer.message(session_id="s-1", role="user", content="Hello")
            await receipt.stored(timeout=5)
    """

    def __init__(
        self, url: str | None = None, *, namespace: str | None = None, settings: ProducerSettings | None = None
    ) -> None:
        """*url* and *namespace* go before those of *settings*.

        Raises:
            InvalidSetting: The URL is none of a queue server, or the strategy cannot be loaded.
        """
        self.settings = settings_for(settings, url, namespace)
        self._drops = Drops()
        buffer = Buffer(self.settings.buffer_records, self.settings.buffer_bytes, _overflow(self.settings, self._drops))
        self._begin(RisingClock(), buffer)
        self._receipt = at_level(Receipt, LEVELS[self.settings.durability])
        self._outbox = self._new_outbox()

    @classmethod
    def from_env(cls, mapping: Mapping[str, str] = os.environ) -> Self:
        """A producer set up by `PENSTOCK_REDIS_URL` and its like; `ProducerSettings` lists them."""
        return cls(settings=from_mapping(ProducerSettings, mapping))

    def _new_outbox(self) -> Outbox:
        from penstock.producer.outbox import Outbox  # noqa: PLC0415 - redis costs 100 ms of import

        outbox = Outbox(self.settings, self._buffer, self._producer_id)
        self._buffer.ring = outbox.sender.ring
        self._buffer.on_room = outbox.note_room
        self._buffer.alarm = outbox.alarm
        return outbox

    async def __aenter__(self) -> Self:
        """Start sending. A queue that is away is no error: records wait in the buffer.

        Raises:
            ConfigMismatch: The namespace and the settings disagree.
            ProducerClosed: It was started before.
        """
        self._outbox.start()
        self._buffer.open()
        await self._outbox.first_try()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop taking, end open streams as interrupted, and send what is left, within `close_timeout_s`.

        What the queue did not confirm by then is in the spool, for the next producer that starts with it; without a
        spool it is counted in `dropped`. Either is logged in one line. May be repeated.
        """
        self._end_streams()
        await self._outbox.close()

    def _ticket(self, record_id: bytes, lane: str, key: str, packed: bytes) -> Receipt:
        # In place: a constructor of its own is 4 % of a call (benchmarks/call.py).
        receipt: Receipt = _new(self._receipt)
        receipt.record_id = record_id
        receipt.lane = lane
        receipt.key = key
        receipt.packed = packed
        receipt.fate = None
        receipt.waiter = None
        receipt.desk = self._outbox
        return receipt

    def at(self, durability: Durability) -> Producer:
        """Give this producer for calls whose records must be that durable. All else is the same, and shared.

            await producer.at("fsync").message(session_id="s-1", role="user", content="Pay").queued()

        Raises:
            InvalidSetting: There is no such level.
        """
        return _At(self, at_level(Receipt, level_of(durability)))

    def stream(
        self,
        *,
        session_id: str,
        role: str,
        metadata: Mapping[str, Any] | None = None,
        id: str | UUID | bytes | None = None,  # noqa: A002 - the field's name
        **fields: Any,
    ) -> Stream[Receipt]:
        """Open a message that comes in chunks.

            async with producer.stream(session_id="s-1", role="assistant") as stream:
                async for token in model:
                    stream.write(token)

        Leaving the block makes it one message. After an exception inside, a cancellation too, the
        message is stored as `interrupted` with what was written. Its place in the session is where it opened.
        """
        stream = Stream(self._buffer, *self._open(session_id, role, metadata, id, fields))
        self._streams.add(stream)
        return stream

    async def set_if_absent(
        self,
        *,
        key: str,
        value: Any,
        namespace: str = DEFAULT_NAMESPACE,
        ttl_s: float | None = None,
        timeout: float | None = PATIENCE_S,  # noqa: ASYNC109 - the public word for it
    ) -> bool:
        """Set the value under a key that nobody has set: True. False where somebody has, and nothing is changed.

        Unlike the other calls it waits for the queue server, which decides: of any number of callers one gets True.
        It knows what `key_value` and `delete_key_value` of every producer have sent, and what this one has handed
        over before. After *ttl_s* seconds the key is free again. The value is stored behind, as that of `key_value`.

        A cancelled call may or may not have set the key.

        Raises:
            QueueUnavailable: No answer within *timeout* seconds (None: for ever). The message says whether the key may
                have been set; a value that only you give tells you later whose it is.
            QueueFull: The queue takes nothing now; the key was not set.
            RecordDropped: The producer's strategy leaves the record out; the key was not set.
            ProducerClosed: It is not started, or closed meanwhile; the message says whether the key may have been set.
        """
        return await self.claim(key=key, value=value, namespace=namespace, ttl_s=ttl_s, timeout=timeout) is not None

    async def claim(
        self,
        *,
        key: str,
        value: Any,
        namespace: str = DEFAULT_NAMESPACE,
        ttl_s: float | None = None,
        timeout: float | None = PATIENCE_S,  # noqa: ASYNC109 - the public word for it
    ) -> tuple[KeyValue, Receipt] | None:
        """`set_if_absent` for those who follow the value: what was set, and its receipt; None where it says False."""
        claim = self._claim(key, value, namespace, ttl_s)
        if not await self._outbox.claims.decide(claim, timeout):
            return None
        record = cast("KeyValue", decode(claim.packed))
        receipt = self._ticket(record.id, "state", claim.order, b"")
        receipt.fate = claim.placed
        return record, receipt

    async def ready(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the public word for it
        *,
        session_id: str | None = None,
    ) -> None:
        """Wait while the buffer is nearly full: above three quarters, until it is half empty.

        What belongs to partitions that the queue refuses does not count: it has its own share. With *session_id* it is
        waited for, too, while the partition of that session has no more of its share.

        Raises:
            BufferFull: Not within *timeout* seconds.
            ProducerClosed: It closed meanwhile.
        """
        await self._outbox.ready(timeout, session_id)

    async def flush(
        self,
        until: Literal["queued", "stored"] = "queued",
        timeout: float | None = None,  # noqa: ASYNC109 - the public word for it
    ) -> None:
        """Wait until everything handed over before this call is queued, or stored.

        Dead letters count as stored. A stream whose block was left is stored when its message is; of one still open,
        what was written before counts when the queue server keeps it.

        Raises:
            NotQueued: Not within *timeout* seconds; nothing is lost, the producer goes on.
            NotStored: The same for `stored`.
            RecordDropped: One of them was given up meanwhile, since the producer was closed.
        """
        await self._outbox.flush(until, timeout)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many records were given up, by reason.

        `buffer_full`; `memory_gate`: the same while the queue server has too little memory; `partition_full`: the
        buffer's share of a partition that the queue refuses is used up; `stream_cut`: the rest of a stream of which a
        chunk was dropped; `closed`: the queue did not take it before the producer closed; `strategy`: it leaves it out.
        """
        return dict(self._drops.counts)


class _At(Producer):
    """A producer at another level: all its attributes are those of *origin*, but for the receipts it makes."""

    __slots__ = ("_origin", "_receipt")

    def __init__(self, origin: Producer, receipt: type[Receipt]) -> None:  # not Producer's: nothing is begun
        self.__dict__ = origin.__dict__
        self._origin = origin
        self._receipt = receipt


def _overflow(settings: ProducerSettings, drops: Drops) -> Overflow:
    if settings.overflow == "drop":
        return DropWhenFull(drops)
    if settings.overflow == "raise":
        return RaiseWhenFull(drops)
    return RaiseWhenFull(drops, "a plain call cannot wait: `await producer.ready()` before it, or set overflow to drop")
