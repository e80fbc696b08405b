"""The producer for programs without an event loop, and for threads."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from uuid import UUID

from penstock.producer.buffer import SharedBuffer
from penstock.producer.calls import Calls
from penstock.producer.claim import PATIENCE_S
from penstock.producer.errors import ProducerClosed
from penstock.producer.loop_thread import LoopThread
from penstock.producer.overflow import BlockWhenFull, Drops, DropWhenFull, Overflow, RaiseWhenFull
from penstock.producer.receipt import Placed, Ticket, at_level
from penstock.producer.settings import ProducerSettings, settings_for
from penstock.producer.stream import BlockingStream
from penstock.wire.building_state import DEFAULT_NAMESPACE
from penstock.wire.ids import RisingClock, StampClock
from penstock.wire.levels import LEVELS, Durability, level_of
from penstock.wire.records import Record
from penstock.wire.settings import from_mapping

if TYPE_CHECKING:
    from penstock.producer.outbox import Outbox

T = TypeVar("T")

_alive: weakref.WeakSet[BlockingProducer] = weakref.WeakSet()
_parents: list[object] = []
"""In a forked child, the parent's loops and connections: their destructors would touch what the parent uses."""


class BlockingReceipt(Ticket):
    """What a call of `BlockingProducer` returns. See `Receipt`; these methods block the calling thread."""

    __slots__ = ("_producer",)

    def __init__(self, record_id: bytes, lane: str, key: str, packed: bytes, producer: BlockingProducer) -> None:
        # Not through super(): this runs in every call, and takes 0.1 us less so.
        self.record_id = record_id
        self.lane = lane
        self.key = key
        self.packed = packed
        self.fate = None
        self.waiter = None
        self._producer = producer

    def queued(self, timeout: float | None = None) -> None:
        """See `Receipt.queued`."""
        if not isinstance(self.fate, Placed):
            self._producer._ask(lambda outbox: outbox.until_queued(self, timeout))  # noqa: SLF001 - the desk's

    def stored(self, timeout: float | None = None) -> None:
        """See `Receipt.stored`."""
        self._producer._ask(lambda outbox: outbox.until_stored(self, timeout))  # noqa: SLF001 - the desk's


class SharedClock(RisingClock):
    """A `RisingClock` for many threads."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def now_us(self) -> int:
        """See `RisingClock.now_us`."""
        with self._lock:
            return super().now_us()


class SharedStampClock(StampClock):
    """A `StampClock` for many threads."""

    __slots__ = ("_lock",)

    def __init__(self, node: bytes) -> None:
        super().__init__(node)
        self._lock = threading.RLock()

    def next(self) -> bytes:
        """See `StampClock.next`."""
        with self._lock:
            return super().next()

    def observe(self, stamp: bytes) -> None:
        """See `StampClock.observe`."""
        with self._lock:
            super().observe(stamp)


class BlockingProducer(Calls[BlockingReceipt]):
    """The same calls as `Producer` for any number of threads, without an event loop of theirs.

    Records are checked and encoded in the calling thread; a daemon thread sends them. It starts with
    the first call, so a producer may be made before a fork: the child begins with an empty buffer
    and an identity of its own, and what the parent had is sent by the parent alone. Left open, it is
    closed when the interpreter exits; a process that ends in `os._exit`, as those of `multiprocessing`
    do, must close it.

        with BlockingProducer("redis://127.0.0.1:6379/0") as producer:
            producer.message(session_id="s-1", role="user", content="Hello").stored(timeout=5)
    """

    _buffer: SharedBuffer

    def __init__(
        self, url: str | None = None, *, namespace: str | None = None, settings: ProducerSettings | None = None
    ) -> None:
        """See `Producer`."""
        self.settings = settings_for(settings, url, namespace)
        self._receipt = at_level(BlockingReceipt, LEVELS[self.settings.durability])
        self._closed = False
        self._renew()
        _alive.add(self)

    def _renew(self) -> None:
        """Become a fresh producer: when it is made, and in a forked child."""
        from penstock.producer.outbox import Outbox  # noqa: PLC0415 - redis costs 100 ms of import

        self._drops = Drops()
        policy = _overflow(self.settings, self._drops)
        buffer = SharedBuffer(self.settings.buffer_records, self.settings.buffer_bytes, policy)
        self._begin(SharedClock(), buffer, SharedStampClock)
        self._outbox = Outbox(self.settings, self._buffer, self._producer_id)
        self._thread: LoopThread | None = None
        self._starting = threading.Lock()

    def _renew_in_child(self) -> None:
        for stream in list(self._streams):
            stream.abandon()
        self._outbox.disown(ProducerClosed("handed over before the fork: the parent process sends it"))
        _parents.append((self._outbox, self._thread))
        self._renew()

    @classmethod
    def from_env(cls, mapping: Mapping[str, str] = os.environ) -> Self:
        """See `Producer.from_env`."""
        return cls(settings=from_mapping(ProducerSettings, mapping))

    # -- starting and closing -------------------------------------------------------------------

    def _start(self) -> LoopThread:
        with self._starting:
            if self._closed:
                raise ProducerClosed("the producer is closed; make a new one")
            if self._thread is None:
                thread = LoopThread("penstock-producer", self.settings.uvloop)
                self._buffer.ring = lambda: thread.call(self._outbox.sender.ring)
                self._buffer.alarm = lambda: thread.call(self._outbox.alarm)
                thread.call(self._outbox.start)
                self._buffer.open()
                atexit.register(self.close)
                self._thread = thread
            return self._thread

    def __enter__(self) -> Self:
        """Start, as the first call would; a wrong setting is known here already. See `Producer.__aenter__`."""
        self._start()
        self._ask(lambda outbox: outbox.first_try())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See `Producer.close`."""
        with self._starting:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        with self._buffer.lock:
            self._end_streams()
            self._buffer.close()
        try:
            thread.run(self._outbox.close())
        finally:
            thread.stop()

    def _ask(self, question: Callable[[Outbox], Coroutine[Any, Any, T]]) -> T:
        """Have the outbox answer on its own loop, and wait for it."""
        return self._start().run(question(self._outbox))

    # -- calls ----------------------------------------------------------------------------------

    def _ticket(self, record_id: bytes, lane: str, key: str, packed: bytes) -> BlockingReceipt:
        return self._receipt(record_id, lane, key, packed, self)

    def at(self, durability: Durability) -> BlockingProducer:
        """See `Producer.at`."""
        return _At(self, at_level(BlockingReceipt, level_of(durability)))

    def _send(self, record: Record, lane: str, key: str) -> BlockingReceipt:
        if self._thread is None:
            self._start()
        return super()._send(record, lane, key)

    def _send_array(self, array: tuple[Any, ...], lane: str, key: str) -> BlockingReceipt:
        if self._thread is None:
            self._start()
        return super()._send_array(array, lane, key)

    def stream(
        self,
        *,
        session_id: str,
        role: str,
        metadata: Mapping[str, Any] | None = None,
        id: str | UUID | bytes | None = None,  # noqa: A002 - the field's name
        **fields: Any,
    ) -> BlockingStream[BlockingReceipt]:
        """See `Producer.stream`; a plain `with` block, written to by one thread."""
        self._start()
        stream = BlockingStream(self._buffer, *self._open(session_id, role, metadata, id, fields))
        with self._buffer.lock:
            self._streams.add(stream)
        return stream

    def set_if_absent(
        self,
        *,
        key: str,
        value: Any,
        namespace: str = DEFAULT_NAMESPACE,
        ttl_s: float | None = None,
        timeout: float | None = PATIENCE_S,
    ) -> bool:
        """See `Producer.set_if_absent`."""
        self._start()
        claim = self._claim(key, value, namespace, ttl_s)
        return self._ask(lambda outbox: outbox.claims.decide(claim, timeout))

    def flush(self, until: Literal["queued", "stored"] = "queued", timeout: float | None = None) -> None:
        """See `Producer.flush`."""
        self._ask(lambda outbox: outbox.flush(until, timeout))

    @property
    def dropped(self) -> Mapping[str, int]:
        """See `Producer.dropped`."""
        return dict(self._drops.counts)


class _At(BlockingProducer):
    """See `client._At`. What a fork renews in *origin* is renewed here."""

    __slots__ = ("_origin", "_receipt")

    def __init__(self, origin: BlockingProducer, receipt: type[BlockingReceipt]) -> None:
        self.__dict__ = origin.__dict__
        self._origin = origin
        self._receipt = receipt


def _overflow(settings: ProducerSettings, drops: Drops) -> Overflow:
    if settings.overflow == "drop":
        return DropWhenFull(drops)
    if settings.overflow == "raise":
        return RaiseWhenFull(drops)
    return BlockWhenFull(drops, settings.block_timeout_s)


def _renew_all_in_child() -> None:
    for producer in list(_alive):
        producer._renew_in_child()  # noqa: SLF001 - ours


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_renew_all_in_child)
