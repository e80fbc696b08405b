"""The calls that every producer has: checked, encoded and in the buffer when they return."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from penstock.producer.buffer import Buffer
from penstock.producer.claim import Claim
from penstock.producer.errors import BufferFull, RecordDropped
from penstock.producer.receipt import Ticket
from penstock.producer.record_calls import RecordCalls
from penstock.producer.settings import ProducerSettings
from penstock.producer.state_calls import key_value_order
from penstock.producer.stream import StreamHead, StreamWriter, open_head
from penstock.wire import building, companions, strategies
from penstock.wire.building_state import StateBuilder
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import encode, encode_array, record_of
from penstock.wire.ids import RisingClock, StampClock, format_id, new_id, parse_id
from penstock.wire.records import Embedding, Message, Record
from penstock.wire.strategies import Chain

R = TypeVar("R", bound=Ticket)


class Calls(RecordCalls[R]):
    """Plain calls that touch memory only. What they were given may be changed afterwards.

    All raise `InvalidRecord` (field, value, limit), `RecordTooLarge` or `StrategyFailed`, and then have taken nothing;
    on a full buffer they do what `overflow` says.
    """

    settings: ProducerSettings
    _receipt: type[R]
    """What its calls return; carries how durable its records must be."""

    def _begin(self, clock: RisingClock, buffer: Buffer, stamp_clock: type[StampClock] = StampClock) -> None:
        """Start with nothing handed over, under an identity of its own."""
        identity = new_id()
        self._clock = clock
        self._buffer = buffer
        self._producer_id = identity.hex()
        # The last 8 bytes of a UUIDv7 are its random ones.
        self._states = StateBuilder(clock, stamp_clock(identity[8:]))
        self._streams: weakref.WeakSet[StreamWriter[R]] = weakref.WeakSet()
        chain = strategies.load(self.settings.strategy) if self.settings.strategy_at == "producer" else None
        self._encode = encode if chain is None else _encoding(chain)

    @abstractmethod
    def _ticket(self, record_id: bytes, lane: str, key: str, packed: bytes) -> R:
        """A receipt of this producer's kind."""

    def _send(self, record: Record, lane: str, key: str) -> R:
        return self._hand_over(record, lane, key, self._encode(record))

    def _hand_over(self, record: Record, lane: str, key: str, packed: bytes) -> R:
        ticket = self._ticket(record.id, lane, key or self._producer_id, packed)
        if not packed:
            self._leave_out(ticket)
        elif not self._buffer.add(ticket):
            _note_dropped(ticket)
        return ticket

    def _send_array(self, array: tuple[Any, ...], lane: str, key: str) -> R:
        if self._encode is not encode:
            return self._send(record_of(array), lane, key)
        ticket = self._ticket(array[1], lane, key or self._producer_id, encode_array(array))
        if not self._buffer.add(ticket):
            _note_dropped(ticket)
        return ticket

    def _send_both(self, row: Record, lane: str, key: str, vector: Embedding) -> R:
        """Send *row* and what is made of it; returns the row's receipt."""
        # Both are encoded before either is taken: a call that raises has taken nothing.
        packed, beside = self._encode(row), self._encode(vector)
        receipt = self._hand_over(row, lane, key, packed)
        if packed:  # else a strategy leaves the row out, and its text is not to lie elsewhere
            try:
                self._hand_over(vector, "embeddings", vector.collection, beside)
            except BufferFull:  # who repeated the call would have the row twice; `penstock verify` finds this
                self._buffer.overflow.drops.count(self._buffer.why_full)
        return receipt

    def _leave_out(self, ticket: R) -> None:
        self._buffer.leave_out()
        what = f"record {ticket.id} was not handed over: the strategy {self.settings.strategy!r} leaves it out"
        ticket.settle(RecordDropped(what))

    def _claim(self, key: str, value: Any, namespace: str, ttl_s: float | None) -> Claim:
        self._buffer.check_open()
        record = self._states.key_value(key=key, value=value, namespace=namespace, ttl_s=ttl_s)
        packed = self._encode(record)
        if not packed:
            self._buffer.leave_out()
            what = f"key {record.key!r} was not set: the strategy {self.settings.strategy!r} leaves it out"
            raise RecordDropped(what)
        return Claim(record.key, key_value_order(record), packed, self._states.stamps, self._receipt.level)

    def embedding(
        self,
        *,
        collection: str,
        id: str,  # noqa: A002 - the field's name
        vector: Sequence[float] | bytes | Any = None,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | int | None = None,
    ) -> R:
        """Hand over one vector. A later one with the same *id* in the *collection* replaces it.

        *vector* is a sequence of finite numbers, a one-dimensional numpy array, or little-endian float32 bytes. Without
        one the worker makes it of *text* by its embedder (`PENSTOCK_EMBEDDER`).
        """
        record = building.embedding(
            self._clock,
            collection=collection,
            id=id,
            vector=vector,
            text=text,
            metadata=metadata,
            created_at=created_at,
        )
        return self._send(record, "embeddings", record.collection)

    def _send_embedded(  # noqa: PLR0917 - as they come
        self,
        said: tuple[str, str, str | None],
        metadata: Mapping[str, Any] | None,
        record_id: Any,
        created_at: Any,
        fields: dict[str, Any],
        embed: bool | str,
    ) -> R:
        known = companions.noted(metadata, companions.collection_of(embed))
        row = cast(
            "Message", record_of(building.message_array(self._clock, *said, known, record_id, created_at, fields))
        )
        vector = companions.vector_of_message(row)
        if vector is None:
            raise InvalidRecord("content", said[2], "a message with embed= needs a text")
        return self._send_both(row, "messages", row.session_id, vector)

    def document(
        self,
        *,
        collection: str,
        id: str,  # noqa: A002 - the field's name
        text: str,
        metadata: Mapping[str, Any] | None = None,
        embed: bool = False,
    ) -> R:
        """Hand over a text that is kept under an *id* of yours; a later one replaces it (`Reader.document`).

        With *embed* it also goes to the vector store, in the same *collection* and under the same id; the worker's
        embedder makes its vector. The receipt is that of the row; what one of the two stores lacks, `penstock verify`
        finds.
        """
        row = companions.document_row(collection, text, metadata, embed=embed)
        record = self._states.key_value(key=id, value=row.value, namespace=row.namespace)
        vector = companions.vector_of_document(record)
        if embed and vector is None:
            raise InvalidRecord("text", text, "a document with embed= needs a text")
        if vector is None:
            return self._send_key_value(record)
        return self._send_both(record, "state", key_value_order(record), vector)

    def delete_document(self, *, collection: str, id: str) -> R:  # noqa: A002 - the field's name
        """Delete a document, and its vector where it has one."""
        self.delete_embedding(collection=collection, id=id)
        return self.delete_key_value(key=id, namespace=companions.document_namespace(collection))

    def delete_embedding(self, *, collection: str, id: str) -> R:  # noqa: A002 - the field's name
        """Delete the vector with this *id* in the *collection*. One that is handed over later stands there again."""
        record = building.embedding_deletion(self._clock, collection=collection, id=id)
        return self._send(record, "embeddings", record.collection)

    def _delete_embedded(self, message_id: str | UUID | bytes, embed: bool | str) -> None:
        self.delete_embedding(collection=companions.collection_of(embed), id=format_id(parse_id(message_id)))

    def _open(
        self, session_id: str, role: str, metadata: Mapping[str, Any] | None, stream_id: Any, fields: dict[str, Any]
    ) -> tuple[StreamHead, R]:
        """The head and the receipt of a stream that opens now."""
        head = open_head(
            self._clock, session_id=session_id, role=role, metadata=metadata, stream_id=stream_id, fields=fields
        )
        return head, self._ticket(head.stream_id, "messages", head.session_id, b"")

    def _end_streams(self) -> None:
        """End the streams whose blocks are still open, as interrupted."""
        for stream in list(self._streams):
            stream.end("interrupted")


def _note_dropped(ticket: Ticket) -> None:
    ticket.settle(RecordDropped(f"record {ticket.id} was dropped: the buffer was full"))


def _encoding(chain: Chain) -> Callable[[Record], bytes]:
    """`encode` of what *chain* makes of a record; no bytes for one that it leaves out."""

    def encode_applied(record: Record) -> bytes:
        kept = chain.applied(record)
        return b"" if kept is None else encode(kept)

    return encode_applied
