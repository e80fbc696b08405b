"""A record is the same after a line of JSON; a line that is no record is refused with what is wrong."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.moving.lines import BadLine, line_of, record_of, schema
from penstock.wire.ids import NO_STAMP
from penstock.wire.records import KeyValue, LogEvent, Message, MessageDeletion, StreamChunk, Task
from tests.unit.golden.samples import FULL_LOG, FULL_MESSAGE, PLAIN_MESSAGE

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
times = st.integers(0, 253_402_300_799_999_999)
ids = st.binary(min_size=16, max_size=16)
numbers = st.integers(-(2**63), 2**63 - 1)
optional_text = st.none() | text
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
writings = st.sampled_from([
    {},
    {"separators": (",", ":")},
    {"indent": 1},
    {"ensure_ascii": False, "separators": (" ,\t", " : ")},
])  # fmt: skip
values = st.builds(lambda value, how: json.dumps(value, **how).encode(), plain, writings)
objects = st.builds(lambda value, how: json.dumps(value, **how).encode(), st.dictionaries(text, plain), writings)
messages = st.builds(
    Message, ids, times, text, text, optional_text, st.none() | objects, *[optional_text] * 13, st.none() | times,
    st.none() | times, st.sampled_from([None, "streaming", "interrupted"]), st.integers(0, 2**63 - 1), st.booleans(),
)  # fmt: skip
logs = st.builds(
    LogEvent, ids, times, st.integers(1, 100), text, optional_text, optional_text, optional_text, st.none() | objects,
    st.booleans(),
)  # fmt: skip
tasks = st.builds(
    Task, ids, times, ids, text, text, optional_text, optional_text, optional_text, st.booleans(), optional_text,
    st.none() | objects, *[st.none() | times] * 4, st.none() | st.floats(0, 1e300), st.none() | values, optional_text,
    st.none() | times, st.booleans(), st.none() | times, st.none() | ids,
)  # fmt: skip
key_values = st.builds(
    KeyValue, ids, times, ids, text, text, st.none() | values, st.none() | times, st.none() | times, st.booleans(),
    st.none() | times,
)  # fmt: skip
chunks = st.builds(
    lambda stream, *rest: StreamChunk(stream, rest[0], "", "", stream, *rest[1:]),
    ids, times, st.integers(0, 2**31), st.integers(0, 2**31), text,
)  # fmt: skip
deletions = st.builds(MessageDeletion, ids, times, text, st.none() | ids)


@given(messages | logs | tasks | key_values | chunks | deletions)
def test_every_record_comes_back_and_is_written_the_same_again(record: Message) -> None:
    line = line_of(record)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert orjson.loads(line)["kind"]
    assert record_of(line) == record
    assert line_of(record_of(line)) == line


def test_a_line_is_readable() -> None:
    assert json.loads(line_of(FULL_LOG)) == {
        "kind": "log_event",
        "id": "019b76da-8000-7000-8000-000000000007",
        "created_at": "2026-01-01T00:00:00.000001Z",
        "level": 40,
        "event": "tool.failed",
        "message": "it \ufffd broke",
        "agent_id": "agent-1",
        "task_id": "task-1",
        "data": {"code": -(2**63)},
        "normalised": True,
    }
    assert list(json.loads(line_of(FULL_MESSAGE)))[1:] == schema([Message])["message"]


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"a":1e2,"b":-0.0,"c":1.0,"d":9223372036854775808,"e":0.1000000000000000055511151231257827}',
        b'{ "metadata" : {"metadata":[{"data":"}]\\"\\\\"}]} , "kind":"task" }',
        b'{"\\u0061\\ud83d\\udc4b":"\\/\\u00e9\xc3\xa9","a":1,"a":2}',
        b'{\n  "indented": [\r\n1]\n}',
        b' {"a":1}\t',
        b"{}",
    ],
)
def test_json_keeps_every_byte(metadata: bytes) -> None:
    record = FULL_MESSAGE._replace(metadata=metadata)

    assert record_of(line_of(record)) == record


def test_null_as_a_value_is_not_absence() -> None:
    value = KeyValue(b"i" * 16, 1, NO_STAMP, "n", "k", b"null")

    assert b'"value":null' in line_of(value)
    assert record_of(line_of(value)) == value
    assert record_of(line_of(value._replace(value=None))).value is None  # type: ignore[union-attr]


def test_fields_may_stand_in_any_order_and_any_spaces() -> None:
    fields = dict(reversed(json.loads(line_of(FULL_MESSAGE._replace(metadata=b'{"a":1}'))).items()))
    line = json.dumps(fields, separators=(" , ", " : ")).replace('{"a" : 1}', '{"a":1}').encode()

    assert record_of(b" \t" + line) == FULL_MESSAGE._replace(metadata=b'{"a":1}')


def test_a_time_may_be_of_any_zone() -> None:
    line = line_of(PLAIN_MESSAGE).replace(b"2026-01-01T00:00:00.000001Z", b"2026-01-01T02:00:00.000001+02:00")

    assert record_of(line) == PLAIN_MESSAGE


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(line_of(PLAIN_MESSAGE)), **fields}).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "no JSON"),
        (b"[]", "an object is needed"),
        (b'{"kind":7}', "kind is 7; known are message,"),
        (b'{"kind":"task_status"}', "kind is 'task_status'"),
        (b'{"kind":"embedding","vector":"AACAfw=="}', "vector.* finite numbers of float32 in base64"),
        (b'{"kind":"embedding","vector":[1.0]}', "vector.* finite numbers of float32 in base64"),
        (b'{"kind":"message"}', "needs id and created_at and session_id and role"),
        (changed(colour="red"), "no field 'colour'; was it written by a newer release"),
        (changed(content_text="x"), "no field 'content_text'"),
        (changed(id="7"), "id: got '7'; a UUID"),
        (changed(id=7), "id: got 7; a UUID"),
        (changed(id=None), "id: got None"),
        (changed(created_at="2026-01-01T00:00:00"), "created_at.*with its zone"),
        (changed(created_at=7), "created_at: got 7"),
        (changed(created_at="1960-01-01T00:00:00Z"), "created_at"),
        (changed(content=7), "content: got 7; a str is needed"),
        (changed(content="\0"), "a text without NUL"),
        (changed(version=True), "version: got True; an integer"),
        (changed(version=2**63), "an integer of 64 bits"),
        (changed(normalised=1), "normalised: got 1; true or false"),
        (changed(metadata=[]), "metadata: .*an object is needed"),
        (changed(metadata=None), "metadata: .*an object is needed"),
        (changed(metadata_text="{"), "metadata_text is no JSON"),
        (changed(metadata_text="[]"), "metadata_text: .*an object is needed"),
        (line_of(Task(b"i" * 16, 1, NO_STAMP, "t")).replace(b'"stamp":"00', b'"stamp":"zz'), "32 hexadecimal digits"),
        (line_of(Task(b"i" * 16, 1, NO_STAMP, "t", duration_s=1.5)).replace(b"1.5", b'"x"'), "a number is needed"),
        (changed().replace(b"Hello", b"\xff"), "no JSON"),
    ],
)
def test_a_line_that_is_no_record_is_refused_with_what_is_wrong(line: bytes, reason: str) -> None:
    with pytest.raises(BadLine, match=reason):
        record_of(line)
