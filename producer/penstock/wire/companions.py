"""A row and a vector of one record: each says enough of the other for either to be made again.

A message or document that is sent with `embed` is noted in both stores: the row says in which collection its vector is,
the vector says what it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

from penstock.wire.building import MESSAGE_FIELDS, collection_name
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import format_id, new_id, parse_id
from penstock.wire.records import Embedding, KeyValue, Message
from penstock.wire.text import MAX_ID_CHARS, clean_text, dump_object, load_object

EMBEDDED_IN = "embedded_in"
"""Of a message's metadata, and a document's value: the collection of its vector."""

EMBEDDED_FROM = "embedded_from"
"""Of a vector's metadata: `message` or `document`. One that was sent by itself has none."""

DEFAULT_COLLECTION = "messages"

_TEXT_FIELDS = sorted(MESSAGE_FIELDS - {"updated_at", "deleted_at", "state"})
_ALWAYS_OURS = {EMBEDDED_FROM, "session_id", "role"}
_OURS = {*_ALWAYS_OURS, *_TEXT_FIELDS}


def collection_of(embed: bool | str) -> str:
    """The collection that the argument `embed` means."""
    return DEFAULT_COLLECTION if embed is True else collection_name(embed)


def noted(metadata: Mapping[str, Any] | None, collection: str) -> dict[str, Any]:
    """A message's metadata with the note of where its vector is."""
    known = _mapping(metadata)
    if known.get(EMBEDDED_IN, collection) != collection:
        raise InvalidRecord("metadata", known[EMBEDDED_IN], f"its {EMBEDDED_IN} is written by embed=; leave it out")
    return {**known, EMBEDDED_IN: collection}


def _mapping(metadata: Any) -> dict[str, Any]:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidRecord("metadata", metadata, f"a mapping is needed, not {type(metadata).__name__}")
    return dict(metadata or {})


def vector_of_message(record: Message) -> Embedding | None:
    """What is sent beside a message that is noted as embedded, its vector left to the worker; None for any other.

    Its metadata is the message's, with session, role and what else is known of it as text, to search by.
    """
    metadata = load_object(record.metadata)
    collection = metadata.pop(EMBEDDED_IN, None)
    if not isinstance(collection, str) or not record.content:
        return None
    about = {name: value for name in _TEXT_FIELDS if (value := getattr(record, name)) is not None}
    known = {**metadata, **about, "session_id": record.session_id, "role": record.role, EMBEDDED_FROM: "message"}
    encoded, _ = dump_object("metadata", known)
    return Embedding(
        new_id(), record.created_at_us, collection, format_id(record.id), b"", record.content, encoded,
        record.normalised,
    )  # fmt: skip


def message_of_vector(record: Embedding) -> Message:
    """The message that *record* was made of, but for its times of change.

    Where its metadata had a text under the name of a field that was empty, that is the field's now.
    """
    metadata = load_object(record.metadata)
    about: dict[str, Any] = {name: value for name in _TEXT_FIELDS if _fits(name, value := metadata.get(name))}
    kept = {name: value for name, value in metadata.items() if name not in _ALWAYS_OURS and name not in about}
    return Message(
        parse_id(record.key),
        record.created_at_us,
        metadata["session_id"],
        metadata["role"],
        record.text,
        orjson.dumps({**kept, EMBEDDED_IN: record.collection}),
        **about,
        normalised=record.normalised,
    )


def _fits(field: str, value: object) -> bool:
    """Whether *value* can have been that field's; else it is of the message's own metadata."""
    return isinstance(value, str) and bool(value) and (field == "from_user_name" or len(value) <= MAX_ID_CHARS)


class Document(NamedTuple):
    """A text under an id, as a row: the value of a key."""

    namespace: str
    value: dict[str, Any]


def document_namespace(collection: str) -> str:
    """The namespace of the key-values that hold the documents of *collection*."""
    return f"documents:{collection}"


def document_row(collection: str, text: str, metadata: Mapping[str, Any] | None, *, embed: bool) -> Document:
    """What is stored of a document."""
    value: dict[str, Any] = {"text": clean_text("text", text), "metadata": _mapping(metadata)}
    if embed:
        value[EMBEDDED_IN] = collection
    return Document(document_namespace(collection_name(collection)), value)


def vector_of_document(record: KeyValue) -> Embedding | None:
    """What is sent beside a document that is noted as embedded; None for any other."""
    value = orjson.loads(record.value) if record.value else None
    if not isinstance(value, dict) or not isinstance(value.get(EMBEDDED_IN), str) or not value.get("text"):
        return None
    encoded, _ = dump_object("metadata", {**value["metadata"], EMBEDDED_FROM: "document"})
    return Embedding(
        new_id(), record.created_at_us, value[EMBEDDED_IN], record.key, b"", value["text"], encoded, record.normalised
    )


def document_of_vector(record: Embedding) -> Document:
    """The document that *record* was made of."""
    metadata = load_object(record.metadata)
    del metadata[EMBEDDED_FROM]
    return document_row(record.collection, record.text or "", metadata, embed=True)


def made_of(record: Embedding) -> Literal["message", "document"] | None:
    """What a vector was made of; None for one that was sent by itself."""
    metadata = load_object(record.metadata)
    match metadata.get(EMBEDDED_FROM):
        case "document":
            return "document"
        # Somebody's own vector may have copied the note, and nothing else that makes a message.
        case "message" if _is_id(record.key) and all(
            _fits(name, metadata.get(name)) for name in ("session_id", "role")
        ):
            return "message"
    return None


def _is_id(key: str) -> bool:
    try:
        return format_id(parse_id(key)) == key
    except InvalidRecord:
        return False
