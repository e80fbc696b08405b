"""What a dead letter shows of its record, which may be a letter because it is not what it should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import orjson
import pytest

from penstock.dlq import DeadLetter
from penstock.wire.entries import DeadEntry, Letter
from penstock.wire.frames import encode
from penstock.wire.ids import format_id
from penstock.wire.keys import Partition
from penstock.wire.records import KeyValue, Message, MessageDeletion, Record, Task
from tests.unit.golden.samples import FRAMES, STAMP


def letter_of(record: Record) -> DeadLetter:
    letter = Letter(format_id(record.id), 1, encode(record), msgpack.packb({"kind": "rejected"}))
    return DeadLetter.of(DeadEntry(Partition("state", 0), "1-1", letter))


@pytest.mark.parametrize("records", FRAMES.values(), ids=FRAMES)
def test_every_kind_is_shown_in_what_json_has_words_for(records: Sequence[Record]) -> None:
    for record in records:
        shown = letter_of(record).record

        assert orjson.loads(orjson.dumps(shown))["id"] == format_id(record.id)


def test_json_and_stamps_are_shown_readably() -> None:
    task = Task(bytes(16), 1, STAMP, "t", result=b"[1,2]", data=b'{"a":1}')
    value = KeyValue(bytes(16), 1, STAMP, "n", "k", b'"dark"')
    deletion = MessageDeletion(bytes(16), 1, "s", bytes(16))

    assert (letter_of(task).record["result"], letter_of(task).record["data"]) == ([1, 2], {"a": 1})
    assert (letter_of(value).record["value"], letter_of(value).record["stamp"]) == ("dark", STAMP.hex())
    assert letter_of(deletion).record["message_id"] == format_id(bytes(16))


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"metadata": b'{"a":'}, {"metadata": '{"a":'}),
        ({"metadata": b"[1]"}, {"metadata": "[1]"}),
        ({"metadata": b"\xff"}, {"metadata": "\ufffd"}),
        ({"created_at_us": 2**63 - 1}, {"created_at_us": 2**63 - 1}),
        ({"updated_at_us": -(2**62)}, {"updated_at_us": -(2**62)}),
    ],
)
def test_what_was_refused_is_shown_as_it_is(fields: dict[str, Any], shown: dict[str, Any]) -> None:
    record = Message(bytes(16), 1, "s", "user", "text")._replace(**fields)

    found = letter_of(record).record

    assert {name: found[name] for name in shown} == shown
