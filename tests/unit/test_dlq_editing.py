"""Records mended by hand: every field of every kind, under the checks of the producer's calls."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from penstock.dlq.editing import NoRecord, changed, differing, fields_of, mended, value_of
from penstock.dlq.letters import DeadLetter
from penstock.dlq.placing import ordering_key
from penstock.dlq.rebuilding import ANCHORS
from penstock.wire import building
from penstock.wire.building_state import StateBuilder
from penstock.wire.entries import DeadEntry, Letter
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import decode, encode
from penstock.wire.ids import RisingClock, StampClock, format_id
from penstock.wire.keys import Partition
from penstock.wire.letters import Envelope
from penstock.wire.records import KINDS, Message, Record, StreamChunk, kind_of

CLOCK = RisingClock()
STATES = StateBuilder(CLOCK, StampClock(b"producer"))
COURSE: dict[str, Any] = {
    "started_at": 1_700_000_000_000_000,
    "duration_s": 1.5,
    "result": [1, {"a": 2}],
    "error": "none",
}

SAMPLES: dict[str, Any] = {
    "message": building.message(
        CLOCK, session_id="s", role="user", content="text", metadata={"a": [1]}, user_id="u", state="streaming"
    )._replace(version=4),
    "log": building.log_event(CLOCK, level="error", event="e", message="m", agent_id="a", data={"k": "v"}),
    "embedding": building.embedding(CLOCK, collection="c", id="k", vector=[0.1, -2.5], text="t", metadata={"m": 1}),
    "task": STATES.task(task_id="t", agent_id="a", priority="high", description="d", data={"x": 1}, **COURSE),
    "task_status": STATES.task_status(task_id="t", status="done", **COURSE),
    "deleted_task": STATES.deleted_task("t"),
    "agent_state": STATES.agent_state(agent_id="a", goal="g", stats={"n": 1}),
    "deleted_agent_state": STATES.deleted_agent_state("a"),
    "context": STATES.context(context_id="c", data={"a": None}, ttl_s=60),
    "deleted_context": STATES.deleted_context("c"),
    "key_value": STATES.key_value(key="k", value=None, namespace="n"),
    "deleted_key_value": STATES.deleted_key_value("k", "n"),
    "message_deletion": STATES.message_deletion("s", format_id(bytes(16))),
    "embedding_deletion": building.embedding_deletion(CLOCK, collection="c", id="k"),
    "session_deletion": STATES.message_deletion("s"),
}


def letter_of(record: Record, kind: str = "rejected") -> DeadLetter:
    envelope = Envelope(kind=kind, record_kind=kind_of(record).name).pack()
    where = Partition(kind_of(record).lane, 0)
    return DeadLetter.of(DeadEntry(where, "1-1", Letter(format_id(record.id), 1, encode(record), envelope)))


@pytest.mark.parametrize("record", SAMPLES.values(), ids=SAMPLES)
def test_what_is_written_back_unchanged_is_the_same_record(record: Record) -> None:
    fields = orjson.loads(orjson.dumps(fields_of(letter_of(record))))

    assert changed(record, fields, whole=True) == record
    assert changed(record, {}) == record


@pytest.mark.parametrize("record", SAMPLES.values(), ids=SAMPLES)
def test_what_identifies_and_orders_a_record_must_stay(record: Record) -> None:
    for name in ANCHORS[type(record)]:
        with pytest.raises(InvalidRecord, match="must stay"):
            changed(record, {name: "other"})
    assert ordering_key(changed(record, {})) == ordering_key(record)


@pytest.mark.parametrize(
    ("sample", "fields", "after"),
    [
        ("message", {"content": "new", "role": "tool"}, {"content": "new", "role": "tool"}),
        ("message", {"content": None, "user_id": None}, {"content": None, "user_id": None}),
        ("message", {"metadata": {"b": 1}}, {"metadata": b'{"b":1}'}),
        ("message", {"created_at": "2026-01-01T00:00:00.000001Z"}, {"created_at_us": 1_767_225_600_000_001}),
        ("message", {"updated_at": 1_767_225_600_000_001}, {"updated_at_us": 1_767_225_600_000_001}),
        ("message", {"content": "a\0b"}, {"content": "a�b", "normalised": True}),
        ("message", {"metadata": {"a": [True]}}, {"metadata": b'{"a":[true]}'}),
        ("log", {"level": "warning", "message": None}, {"level": 30, "message": None}),
        ("embedding", {"vector": [1, 2, 3]}, {"vector": b"\0\0\x80?\0\0\0@\0\0@@"}),
        ("task", {"enabled": False, "result": "x"}, {"enabled": False, "result": b'"x"'}),
        ("task_status", {"status": "failed", "duration_s": 2}, {"status": "failed", "duration_s": 2.0}),
        ("agent_state", {"stats": {"n": 2}}, {"stats": b'{"n":2}'}),
        ("context", {"expires_at": None}, {"expires_at_us": None}),
        ("key_value", {"value": [1]}, {"value": b"[1]"}),
    ],
)
def test_a_field_is_changed_and_nothing_else(sample: str, fields: dict[str, Any], after: dict[str, Any]) -> None:
    before = SAMPLES[sample]

    assert changed(before, fields) == before._replace(**after)


@pytest.mark.parametrize(
    ("sample", "fields", "told"),
    [
        ("message", {"role": ""}, "role"),
        ("message", {"role": None}, "role"),
        ("message", {"contents": "x"}, "did you mean content"),
        ("message", {"metadata": [1]}, "metadata"),
        ("message", {"content": 5}, "content"),
        ("message", {"created_at": "yesterday"}, "created_at"),
        ("message", {"created_at": 1_700_000_000}, "multiplied"),
        ("message", {"state": "odd"}, "state"),
        ("log", {"level": "loud"}, "level"),
        ("embedding", {"vector": []}, "vector"),
        ("embedding", {"vector": [float("inf")]}, "vector"),
        ("embedding", {"vector": "abc"}, "vector"),
        ("task", {"duration_s": -1}, "duration_s"),
        ("key_value", {"value": 2**70}, "value"),
    ],
)
def test_what_no_call_would_take_is_refused_by_name(sample: str, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRecord, match=told):
        changed(SAMPLES[sample], fields)


def test_json_that_is_not_touched_keeps_its_bytes() -> None:
    record = building.message(CLOCK, session_id="s", role="user")._replace(metadata=b'{ "a" : 1.0 }')

    assert changed(record, {"content": "new"}) == record._replace(content="new")


@pytest.mark.parametrize(
    ("broken", "fields", "after"),
    [
        ({"metadata": b"{"}, {"metadata": {}}, {"metadata": b"{}"}),
        ({"created_at_us": -5}, {"created_at": 0}, {"created_at_us": 0}),
        ({"state": "odd"}, {"state": None}, {"state": None}),
        ({"content": "a\0"}, {}, {"content": "a�", "normalised": True}),
    ],
)
def test_what_a_foreign_producer_broke_can_be_mended(
    broken: dict[str, Any], fields: dict[str, Any], after: dict[str, Any]
) -> None:
    record = building.message(CLOCK, session_id="s", role="user", content="text")._replace(**broken)

    assert changed(record, fields) == record._replace(**after)


def test_what_is_left_broken_is_told() -> None:
    record = building.message(CLOCK, session_id="s", role="user")._replace(metadata=b"{")

    with pytest.raises(InvalidRecord, match="metadata"):
        changed(record, {"content": "new"})


def test_an_anchor_that_no_store_takes_cannot_be_mended() -> None:
    record = building.message(CLOCK, session_id="s", role="user")._replace(session_id="s\0")

    with pytest.raises(InvalidRecord, match="purge"):
        changed(record, {"content": "new"})


def test_a_chunk_of_a_stream_cannot_be_edited() -> None:
    chunk = StreamChunk(bytes(16), 1, "s", "assistant", bytes(16), 0, 1, "text")

    with pytest.raises(InvalidRecord, match="chunk"):
        changed(chunk, {})


def test_bytes_that_are_no_record_cannot_be_edited() -> None:
    letter = letter_of(SAMPLES["message"], "undecodable")

    with pytest.raises(NoRecord, match=letter.id):
        fields_of(letter)
    with pytest.raises(NoRecord):
        mended(letter, SAMPLES["message"], 1)


def test_a_record_of_a_function_is_checked_and_remembered() -> None:
    before = SAMPLES["message"]
    letter = letter_of(before)

    after = mended(letter, before._replace(content="new"), 7)

    assert decode(after.entry.letter.record) == before._replace(content="new")
    assert [(each.at.timestamp(), each.fields) for each in after.edits] == [(0.007, ("content",))]
    assert mended(letter, before, 7) is letter
    for wrong in (before._replace(id=bytes(16)), before._replace(session_id="x"), before._replace(metadata=b"{")):
        with pytest.raises(InvalidRecord):
            mended(letter, wrong, 7)
    with pytest.raises(InvalidRecord, match="Message"):
        mended(letter, SAMPLES["log"], 7)


@pytest.mark.parametrize(
    ("sample", "name", "text", "value"),
    [
        ("message", "content", "5", "5"),
        ("message", "metadata", '{"a":1}', {"a": 1}),
        ("message", "created_at", "2026-01-01", "2026-01-01"),
        ("message", "updated_at", "17", 17),
        ("embedding", "vector", "[1, 2]", [1, 2]),
        ("task", "enabled", "false", False),
        ("key_value", "value", '"x"', "x"),
    ],
)
def test_a_text_on_the_command_line_is_what_its_field_holds(sample: str, name: str, text: str, value: object) -> None:
    assert value_of(SAMPLES[sample], name, text) == value


def test_no_json_and_no_field_are_told_by_name() -> None:
    with pytest.raises(InvalidRecord, match="metadata"):
        value_of(SAMPLES["message"], "metadata", "{")
    with pytest.raises(InvalidRecord, match="did you mean metadata"):
        value_of(SAMPLES["message"], "metdata", "{}")


def test_differing_fields_are_named_as_they_are_shown() -> None:
    one = SAMPLES["message"]
    assert isinstance(one, Message)

    assert differing(one, one._replace(created_at_us=1, content="x", normalised=True)) == ("created_at", "content")


def test_every_kind_has_its_anchors() -> None:
    assert set(ANCHORS) == {kind.record for kind in KINDS}
