"""What a ledger's fact and a dead letter have in common, so that the one is found by the other."""

from __future__ import annotations

import json
import uuid
from typing import TypeAlias

from penstock.testing.evidence import DeadRecord
from penstock.testing.ledger import AnySent, SentLog, SentMessage, SentStream, SentValue, SentVector

Identity: TypeAlias = tuple[str, ...] | tuple[str, str, str, bytes]

_CHUNK, _EMBEDDING, _KEY_VALUE, _DELETION = 2, 4, 9, 10
"""Codes of records on the wire. Their fields are in the order of `penstock.wire.records`."""


def of_sent(sent: AnySent) -> Identity:
    """Of a record as its writer noted it. Versions of one key differ by what they hold."""
    if isinstance(sent, SentMessage | SentStream | SentLog):
        return ("record", sent.id)
    if isinstance(sent, SentVector):
        return ("embedding", sent.collection, sent.key, sent.vector)
    if isinstance(sent, SentValue):
        return ("key-value", sent.namespace, sent.key, "deleted" if sent.deleted else _canonical(sent.value))
    return ("deletion", sent.id)


def of_letter(letter: DeadRecord) -> Identity:
    """Of a dead letter's record."""
    fields = letter.fields
    if letter.kind == _CHUNK:
        return ("record", str(uuid.UUID(bytes=fields[4])))  # its stream's
    if letter.kind == _EMBEDDING:
        return ("embedding", *fields[2:5])
    if letter.kind == _KEY_VALUE:
        value = fields[5] if len(fields) > 5 else None
        return ("key-value", *fields[3:5], "deleted" if value is None else _canonical(json.loads(value)))
    if letter.kind == _DELETION and len(fields) > 3:
        return ("deletion", str(uuid.UUID(bytes=fields[3])))
    return ("record", letter.id)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)
