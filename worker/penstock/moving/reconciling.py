"""Rows and vectors of the same records, compared: what one store lacks, and what makes it whole again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import orjson

from penstock.moving.walks import pages_of, records_of
from penstock.producer import Producer
from penstock.stores.contract import SqlReading
from penstock.stores.key_value_contract import KeyValueReading
from penstock.stores.queries import KeyValueQuery, Position
from penstock.stores.vector_contract import VectorReading
from penstock.wire import companions
from penstock.wire.ids import from_us, to_us, wall_clock_us
from penstock.wire.records import (
    Embedding,
    EmbeddingDeletion,
    KeyValue,
    Message,
    MessageDeletion,
    Record,
    VectorRecord,
)
from penstock.wire.text import load_object

Lack: TypeAlias = Literal["vector", "row", "deletion"]

_PAGE = 500


class Finding(NamedTuple):
    """One record that is not the same in both stores."""

    lacks: Lack
    """`vector`: the row is there alone. `row`: the vector is. `deletion`: the row was deleted, the vector was not."""
    of: Literal["message", "document"]
    id: str
    record: Embedding
    """The vector: to be made and stored, that the row is made of, or to be deleted."""


async def findings(
    sql: SqlReading, values: KeyValueReading, vectors: VectorReading, collection: str, before_us: int
) -> AsyncIterator[Finding]:
    """Every record of *collection* that one of the stores lacks, of those created before *before_us*.

    *values* keeps the documents: the SQL store, or that of key-values. Changes nothing, and goes once through the
    collection, its documents and all messages. What was sent without `embed` is not looked at, nor is a vector that was
    deleted by itself.

    Raises:
        StoreUnavailable: Nothing is known of the rest.
    """
    messages = _Messages(sql, await _tombstones(sql))
    deleted: dict[str, int] = {}
    async for row, record in _side_by_side(_documents(values, collection), _vectors(vectors, collection)):
        found = None
        if record is None:
            found = row and row.vector(before_us)
        elif isinstance(record, EmbeddingDeletion):
            deleted[record.key] = record.created_at_us
            if row is not None and row.is_newer(record):
                found = row.vector(before_us)
        elif record.created_at_us < before_us:
            found = await _compared(record, row, messages, before_us)
        if found:
            yield found
    async for each in _messages_without_vector(sql, vectors, collection, before_us, deleted):
        yield each


async def repair(found: AsyncIterator[Finding], producer: Producer) -> Counter[Lack]:
    """Hand over what makes the stores the same again. Returns how many of each there were.

    A row is made again of its vector: of a message with its id, time, session, role, text and metadata. Repeated, it
    hands over only what is still lacking.
    """
    done: Counter[Lack] = Counter()
    async for each in found:
        await producer.ready()
        record = each.record
        if each.lacks == "vector":
            producer.embedding(
                collection=record.collection,
                id=record.key,
                text=record.text,
                metadata=load_object(record.metadata),
                created_at=from_us(record.created_at_us),
            )
        elif each.lacks == "deletion":
            producer.delete_embedding(collection=record.collection, id=record.key)
        elif each.of == "document":
            document = companions.document_of_vector(record)
            producer.document(
                collection=record.collection,
                id=record.key,
                text=document.value["text"],
                metadata=document.value["metadata"],
                embed=True,
            )
        else:
            producer.message(**_fields_of(companions.message_of_vector(record)))
        done[each.lacks] += 1
    return done


def _fields_of(message: Message) -> dict[str, Any]:
    fields = message._asdict()
    for name in ("created_at_us", "updated_at_us", "deleted_at_us", "version", "normalised", "state"):
        del fields[name]
    return {
        **{name: value for name, value in fields.items() if value is not None},
        "metadata": load_object(message.metadata),
        "created_at": from_us(message.created_at_us),
    }


class _Row(NamedTuple):
    """A document as the store of values has it."""

    key: str
    embedding: Embedding | None
    """What its vector is made of; None where it was sent without one, or was deleted."""
    deleted_at_us: int | None

    def is_newer(self, record: VectorRecord) -> bool:
        """Whether its vector should have taken the place of *record*."""
        return self.embedding is not None and self.embedding.created_at_us > record.created_at_us

    def vector(self, before_us: int) -> Finding | None:
        """What is lacking where there is no vector, or an older one."""
        if self.embedding is None or self.embedding.created_at_us >= before_us:
            return None
        return Finding("vector", "document", self.key, self.embedding)


async def _side_by_side(
    rows: AsyncIterator[_Row], vectors: AsyncIterator[VectorRecord]
) -> AsyncIterator[tuple[_Row | None, VectorRecord | None]]:
    """Both by key, those of one key together."""
    row, record = await anext(rows, None), await anext(vectors, None)
    while row is not None or record is not None:
        if record is None or (row is not None and row.key < record.key):
            yield row, None
            row = await anext(rows, None)
        elif row is None or record.key < row.key:
            yield None, record
            record = await anext(vectors, None)
        else:
            yield row, record
            row, record = await anext(rows, None), await anext(vectors, None)


async def _documents(values: KeyValueReading, collection: str) -> AsyncIterator[_Row]:
    """Those of *collection* by key, also deleted ones where the store can show them."""
    namespace = companions.document_namespace(collection)
    walk: Callable[..., Awaitable[Sequence[Record]]] | None = getattr(values, "walk", None)
    after = KeyValue(bytes(16), 0, bytes(16), namespace, "")
    while True:
        if walk is not None:
            page = cast("Sequence[KeyValue]", await walk("key_values", after, _PAGE))
        else:
            page = await _live(values, namespace, after.key)
        for record in page:
            if record.namespace != namespace:
                return
            gone_at_us = record.deleted_at_us
            made = companions.vector_of_document(record) if gone_at_us is None else None
            yield _Row(record.key, made, gone_at_us)
        if len(page) < _PAGE:
            return
        after = page[-1]


async def _live(values: KeyValueReading, namespace: str, after: str) -> list[KeyValue]:
    """A page of documents of a store that does not walk: those that are there."""
    query = KeyValueQuery(
        now_us=wall_clock_us(), namespace=namespace, limit=_PAGE, after=Position(0, after) if after else None
    )
    return [
        KeyValue(
            bytes(16), to_us(each.updated_at, "updated_at"), bytes(16), namespace, each.key, orjson.dumps(each.value)
        )
        for each in await values.key_values(query)
    ]


async def _vectors(vectors: VectorReading, collection: str) -> AsyncIterator[VectorRecord]:
    after: str | None = None
    while page := await vectors.walk_vectors(collection, after, _PAGE):
        for record in page:
            yield record
        after = page[-1].key


async def _compared(record: Embedding, row: _Row | None, messages: _Messages, before_us: int) -> Finding | None:
    """What is lacking of what *record* was made of; *row* is the document under its key."""
    made_of = companions.made_of(record)
    if made_of == "message":
        lack = await messages.lack_of(record)
        return Finding(lack, "message", record.key, record) if lack else None
    if made_of is None:
        return None
    if row is None:
        return Finding("row", "document", record.key, record)
    if row.deleted_at_us is not None:
        # One that was sent again after the deletion has lost its new row.
        what: Lack = "deletion" if record.created_at_us <= row.deleted_at_us else "row"
        return Finding(what, "document", record.key, record)
    return row.vector(before_us) if row.is_newer(record) else None


class _Messages(NamedTuple):
    """The rows of messages, asked for one by one."""

    sql: SqlReading
    tombstones: Mapping[tuple[str, bytes | None], int]

    async def lack_of(self, record: Embedding) -> Lack | None:
        """What is lacking of the message that *record* was made of."""
        wanted = companions.message_of_vector(record)
        found = await self.sql.message(wanted.id)
        if found is not None:
            return "deletion" if found.deleted else None
        session = self.tombstones.get((wanted.session_id, None), 0)
        gone = wanted.created_at_us <= session or (wanted.session_id, wanted.id) in self.tombstones
        return "deletion" if gone else "row"


async def _tombstones(sql: SqlReading) -> dict[tuple[str, bytes | None], int]:
    """When sessions, and messages that had not come yet, were deleted."""
    found = {}
    async for record in records_of(sql, "deletions"):
        if isinstance(record, MessageDeletion):
            found[record.session_id, record.message_id] = record.created_at_us
    return found


async def _messages_without_vector(
    sql: SqlReading, vectors: VectorReading, collection: str, before_us: int, deleted: Mapping[str, int]
) -> AsyncIterator[Finding]:
    async for page in pages_of(sql, "messages"):
        wanted = [
            vector
            for record in page
            if isinstance(record, Message) and record.deleted_at_us is None and record.created_at_us < before_us
            if (vector := companions.vector_of_message(record)) and vector.collection == collection
            if record.created_at_us > deleted.get(vector.key, -1)
        ]
        for at in range(0, len(wanted), _PAGE):
            some = wanted[at : at + _PAGE]
            there = {each.id for each in await vectors.vectors(collection, [each.key for each in some])}
            for each in some:
                if each.key not in there:
                    yield Finding("vector", "message", each.key, each)
