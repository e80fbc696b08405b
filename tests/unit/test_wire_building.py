"""What a caller gives becomes a record that any store can hold, or an error that says what to mend."""

from __future__ import annotations

import array
import dataclasses
import enum
import logging
import math
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import building
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import array_of, decode, encode, record_of, trimmed
from penstock.wire.ids import RisingClock
from penstock.wire.records import Embedding, EmbeddingDeletion, LogEvent, Message, StreamChunk
from penstock.wire.text import MAX_INT, clean_text, dump_object, load_object

CLOCK = RisingClock(lambda: 1_700_000_000_000_000)

any_text = st.text(st.characters(exclude_categories=()), max_size=40)
"""With NUL and surrogates, lone and paired."""
json_leaves = st.none() | st.booleans() | st.integers(-MAX_INT - 1, MAX_INT) | st.floats(allow_nan=False) | any_text
json_values = st.recursive(
    json_leaves.filter(lambda leaf: not isinstance(leaf, float) or math.isfinite(leaf)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


def message(**fields: Any) -> Message:
    return building.message(CLOCK, **{"session_id": "s", "role": "user", **fields})


class Unhashable(str):  # noqa: PLW1641 - as a class is that does not think of it
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str(self) == other


class Role(enum.StrEnum):
    USER = "user"


def test_a_str_of_any_kind_is_taken_as_it_is() -> None:
    for name in (Unhashable("user"), np.str_("user"), Role.USER):
        made = message(session_id=name, role=name)
        assert (made.session_id is name, made.role is name, made.normalised) == (True, True, False)


def log_event(**fields: Any) -> LogEvent:
    return building.log_event(CLOCK, **{"level": "info", "event": "e", **fields})


def embedding_deletion(**fields: Any) -> EmbeddingDeletion:
    return building.embedding_deletion(CLOCK, **{"collection": "c", "id": "k", **fields})


def embedding(**fields: Any) -> Embedding:
    return building.embedding(CLOCK, **{"collection": "c", "id": "k", "vector": [1.0], **fields})


def expected_text(text: str) -> str:
    """The rule, told another way: pairs join, what stays alone becomes U+FFFD, and so does NUL."""
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return "".join("\ufffd" if one == "\0" or "\ud800" <= one <= "\udfff" else one for one in joined)


def expected_json(value: Any) -> Any:
    if isinstance(value, str):
        return expected_text(value)
    if isinstance(value, list):
        return [expected_json(item) for item in value]
    if isinstance(value, dict):
        return {expected_text(key): expected_json(item) for key, item in value.items()}
    return value


class NoOffset(tzinfo):
    """A time zone that does not know its offset: its datetimes are naive all the same."""

    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    def dst(self, _: datetime | None, /) -> None:
        return None

    def tzname(self, _: datetime | None, /) -> None:
        return None


@dataclasses.dataclass
class Point:
    x: float


class Colour(enum.Enum):
    RED = "re\0d"
    NONE = math.nan


REFUSED: dict[str, tuple[Callable[..., object], dict[str, Any], str, str]] = {
    # what: the call, its arguments, the field that is named, a part of the limit that is told
    "no session": (message, {"session_id": ""}, "session_id", "at least 1 character"),
    "long session": (message, {"session_id": "s" * 256}, "session_id", "256 characters, at most 255"),
    "number as session": (message, {"session_id": 7}, "session_id", "a str is needed, not int"),
    "no role": (message, {"role": ""}, "role", "at least 1 character"),
    "bytes as content": (message, {"content": b"x"}, "content", "a str is needed, not bytes"),
    "list as metadata": (message, {"metadata": [1]}, "metadata", "a mapping is needed, not list"),
    "bad id": (message, {"id": "42"}, "id", "a UUID is needed"),
    "short id": (message, {"id": b"1234"}, "id", "16 bytes"),
    "naive time": (message, {"created_at": datetime(2026, 1, 1)}, "created_at", "needs a time zone"),  # noqa: DTZ001
    "zone without offset": (message, {"created_at": datetime(2026, 1, 1, tzinfo=NoOffset())}, "created_at", "zone"),
    "time before 1970": (message, {"created_at": datetime(1969, 12, 31, tzinfo=UTC)}, "created_at", "since 1970"),
    "time after 9999": (message, {"created_at": 253_402_300_800_000_000}, "created_at", "year 9999"),
    "time in seconds": (message, {"created_at": 1_795_268_672}, "created_at", "that is 1970-01-01 00:29 in micros"),
    "time in milliseconds": (
        message,
        {"updated_at": 1_795_268_672_086},
        "updated_at",
        "milliseconds by 1,000, or give",
    ),
    "time as text": (message, {"updated_at": "2026-01-01"}, "updated_at", "aware datetime"),
    "time as truth": (message, {"deleted_at": True}, "deleted_at", "aware datetime"),
    "unknown state": (message, {"state": "done"}, "state", "complete, streaming, interrupted"),
    "unhashable state": (message, {"state": []}, "state", "complete, streaming, interrupted"),
    "number as user": (message, {"user_id": 7}, "user_id", "a str is needed, not int"),
    "long engine session": (message, {"engine_session_id": "e" * 256}, "engine_session_id", "at most 255"),
    "unknown level": (log_event, {"level": "loud"}, "level", "debug, info, warning, error, critical"),
    "level zero": (log_event, {"level": 0}, "level", "1 to 100"),
    "level too high": (log_event, {"level": 101}, "level", "1 to 100"),
    "truth as level": (log_event, {"level": True}, "level", "1 to 100"),
    "no event": (log_event, {"event": ""}, "event", "at least 1 character"),
    "number as message": (log_event, {"message": 1}, "message", "a str is needed, not int"),
    "text as data": (log_event, {"data": "x"}, "data", "a mapping is needed, not str"),
    "empty agent": (log_event, {"agent_id": ""}, "agent_id", "at least 1 character"),
    "empty collection": (embedding, {"collection": ""}, "collection", "1 to 63"),
    "long collection": (embedding, {"collection": "c" * 64}, "collection", "1 to 63"),
    "path as collection": (embedding, {"collection": "../etc"}, "collection", "1 to 63"),
    "line end in collection": (embedding, {"collection": "c\n"}, "collection", "1 to 63"),
    "number as key": (embedding, {"id": 5}, "id", "a str is needed, not int"),
    "path as a deletion's collection": (embedding_deletion, {"collection": "../etc"}, "collection", "1 to 63"),
    "empty key of a deletion": (embedding_deletion, {"id": ""}, "id", "at least 1 character"),
    "empty vector": (embedding, {"vector": []}, "vector", "1 to 16,384"),
    "empty bytes": (embedding, {"vector": b""}, "vector", "1 to 16,384"),
    "long vector": (embedding, {"vector": [0.0] * 16_385}, "vector", "1 to 16,384"),
    "odd bytes": (embedding, {"vector": b"12345"}, "vector", "come in fours"),
    "text in vector": (embedding, {"vector": ["a"]}, "vector", "a sequence of numbers"),
    "text as vector": (embedding, {"vector": "abc"}, "vector", "a sequence of numbers"),
    "number as vector": (embedding, {"vector": 5}, "vector", "a sequence of numbers"),
    "set as vector": (embedding, {"vector": {1.0, 2.0}}, "vector", "has no order"),
    "mapping as vector": (embedding, {"vector": {1: 2.0}}, "vector", "has no order"),
    "NaN in vector": (embedding, {"vector": [0.0, math.nan]}, "vector[1]", "finite in float32"),
    "infinities that cancel out": (embedding, {"vector": [math.inf, -math.inf]}, "vector[0]", "finite in float32"),
    "beyond float32": (embedding, {"vector": [0.0, 0.0, 1e39]}, "vector[2]", "finite in float32"),
    "huge integer in vector": (embedding, {"vector": [10**400]}, "vector", "a sequence of numbers"),
    "matrix": (embedding, {"vector": np.zeros((2, 2))}, "vector", "one-dimensional"),
    "array of text": (embedding, {"vector": np.array(["a"])}, "vector", "real numbers"),
    "complex array": (embedding, {"vector": np.array([1j])}, "vector", "real numbers"),
    "array beyond float32": (embedding, {"vector": np.array([1e39])}, "vector", "float32"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_value_is_named_with_its_field_and_its_limit(case: str) -> None:
    call, arguments, field, limit = REFUSED[case]

    with pytest.raises(InvalidRecord) as caught:
        call(**arguments)

    assert caught.value.field == field
    assert limit in caught.value.limit
    assert str(caught.value).startswith(f"{field}: got ")
    assert len(str(caught.value)) < 400


REFUSED_JSON: dict[str, tuple[Any, str, str]] = {
    "NaN": ({"a": math.nan}, "metadata.a", "finite"),
    "infinity in a list": ({"a": [1, {"b": -math.inf}]}, "metadata.a[1].b", "finite"),
    "one above 64 bits": ({"a": MAX_INT + 1}, "metadata.a", "64 bits"),
    "one below 64 bits": ({"a": (-MAX_INT - 2,)}, "metadata.a[0]", "64 bits"),
    "key that is a number": ({"a": {1: 2}}, "metadata.a", "keys must be str, not int"),
    "key that is None": ({None: 2}, "metadata", "keys must be str, not NoneType"),
    "set": ({"a": {1}}, "metadata", "it must be JSON"),
    "bytes": ({"a": b"x"}, "metadata", "it must be JSON"),
    "dataclass, whose NaN would become null": ({"a": Point(math.nan)}, "metadata", "it must be JSON"),
    "enum of a NaN": ({"a": Colour.NONE}, "metadata.a", "finite"),
    "keys that become one": ({"a\0": 1, "a\ufffd": 2}, "metadata", "two keys are the same"),
}


@pytest.mark.parametrize("case", REFUSED_JSON)
def test_metadata_that_is_no_json_is_refused_with_its_path(case: str) -> None:
    value, path, limit = REFUSED_JSON[case]

    with pytest.raises(InvalidRecord) as caught:
        message(metadata=value)

    assert caught.value.field == path
    assert limit in caught.value.limit


def test_metadata_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop

    with pytest.raises(InvalidRecord, match="holds itself"):
        message(metadata=loop)


def test_unknown_field_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InvalidRecord, match="did you mean user_id"):
        message(userid="u")


def test_unknown_field_with_nothing_near_lists_what_is_known() -> None:
    with pytest.raises(InvalidRecord, match=r"known are bot_user_id, channel_id.*goes into metadata"):
        message(zzz=1)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [("a\0b", "a\ufffdb"), ("\ud800", "\ufffd"), ("x\udc00y\0", "x\ufffdy\ufffd"), ("\ud83d\ude00", "\U0001f600")],
)
def test_nul_and_lone_surrogates_are_replaced_and_flagged_wherever_they_stand(dirty: str, clean: str) -> None:
    made: list[Message | LogEvent | Embedding] = [
        message(content=dirty),
        message(session_id=dirty),
        message(role=dirty),
        message(user_id=dirty),
        message(metadata={dirty: 1}),
        message(metadata={"a": [{"b": dirty}]}),
        log_event(event=dirty),
        log_event(message=dirty),
        log_event(data={"a": dirty}),
        log_event(agent_id=dirty),
        log_event(task_id=dirty),
        embedding(id=dirty),
        embedding(text=dirty),
        embedding(metadata={"a": {"b": {dirty: dirty}}}),
    ]

    assert [record for record in made if not record.normalised] == []
    for record in made:
        shown = "|".join(
            orjson.loads(part).__repr__() if isinstance(part, bytes) and part[:1] == b"{" else str(part)
            for part in record
        )
        assert clean in shown
        assert dirty not in shown


def test_clean_record_is_not_flagged() -> None:
    assert not message(content="ünï😀 \ufffd", metadata={"null": None, "é": "\ufffd"}, user_id="u").normalised
    assert not log_event(message="ü", data={"a": None}).normalised
    assert not embedding(text="ü", metadata={}).normalised


def test_text_of_an_enum_in_metadata_is_normalised_too() -> None:
    record = message(metadata={"colour": Colour.RED})

    assert load_object(record.metadata) == {"colour": "re\ufffdd"}
    assert record.normalised


def test_any_mapping_is_metadata() -> None:
    record = message(metadata=MappingProxyType({"a": MappingProxyType({"b": (1, 2)})}))

    assert load_object(record.metadata) == {"a": {"b": [1, 2]}}


def test_integers_at_the_edge_of_64_bits_pass() -> None:
    edges = {"low": -MAX_INT - 1, "high": MAX_INT}

    assert load_object(message(metadata=edges).metadata) == edges


def test_later_changes_of_the_callers_dict_change_nothing() -> None:
    given_by_caller = {"a": [1]}
    record = message(metadata=given_by_caller)

    given_by_caller["a"].append(2)

    assert load_object(record.metadata) == {"a": [1]}


@given(any_text)
def test_any_text_comes_back_equal_after_the_rules(text: str) -> None:
    assert clean_text("content", text) == expected_text(text)
    assert message(content=text).normalised == (expected_text(text) != text)


@given(st.dictionaries(any_text, json_values, max_size=4))
def test_any_json_comes_back_equal_after_the_rules(value: dict[str, Any]) -> None:
    try:
        encoded, changed = dump_object("metadata", value)
    except InvalidRecord as exc:
        assert "two keys are the same" in exc.limit  # noqa: PT017 - the one reason that is left
        return

    assert load_object(encoded) == expected_json(value)
    assert changed == (expected_json(value) != value)
    assert b"\\u0000" not in encoded


def test_every_optional_field_of_a_message_is_kept() -> None:
    names = building.MESSAGE_FIELDS - {"updated_at", "deleted_at", "state"}
    at = datetime(2026, 3, 1, 12, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))

    record = message(**{name: f"<{name}>" for name in names}, updated_at=at, deleted_at=1, state="interrupted")

    assert {name: getattr(record, name) for name in names} == {name: f"<{name}>" for name in names}
    assert record.updated_at_us == 1_772_361_000_123_456
    assert record.deleted_at_us == 1
    assert record.state == "interrupted"


def test_none_is_the_same_as_not_given() -> None:
    assert message(id=bytes(16), user_id=None, state=None, created_at=5) == message(id=bytes(16), created_at=5)


def test_engine_session_may_be_a_uuid() -> None:
    engine = uuid.uuid4()

    assert message(engine_session_id=engine).engine_session_id == str(engine)


def test_complete_is_the_state_that_is_not_written() -> None:
    assert message(state="complete").state is None
    assert not message(state="complete").normalised


def test_empty_content_is_not_the_same_as_none() -> None:
    assert (message(content="").content, message().content) == ("", None)


@pytest.mark.parametrize(
    ("level", "number"), [("info", 20), ("WARN", 30), ("Critical", 50), (logging.ERROR, 40), (35, 35)]
)
def test_level_is_a_name_or_a_number(level: str | int, number: int) -> None:
    assert log_event(level=level).level == number


THREE = array.array("f", [1.5, -2.0, 0.25])


@pytest.mark.parametrize(
    "vector",
    [
        [1.5, -2, 0.25],
        (1.5, -2.0, 0.25),
        iter([1.5, -2.0, 0.25]),
        THREE,
        THREE.tobytes(),
        bytearray(THREE.tobytes()),
        memoryview(THREE),
        np.array([1.5, -2, 0.25]),
        np.array([1.5, -2, 0.25], dtype=np.float16),
        np.array([9, 1.5, 9, -2, 9, 0.25], dtype=">f4")[1::2],
    ],
    ids=["list", "tuple", "iterator", "array", "bytes", "bytearray", "memoryview", "float64", "float16", "strided"],
)
def test_vector_is_kept_as_little_endian_float32(vector: Any) -> None:
    assert embedding(vector=vector).vector == THREE.tobytes()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_any_finite_float32_vector_comes_back_equal(numbers: list[float]) -> None:
    kept = array.array("f", embedding(vector=numbers).vector)

    assert kept.tolist() == numbers


def test_times_rise_though_the_clock_stands() -> None:
    clock = RisingClock(lambda: 1_000)
    made = [building.message(clock, session_id="s", role="r").created_at_us for _ in range(3)]

    assert made == [1_000, 1_001, 1_002]


def test_fields_of_a_stream_return_in_its_message() -> None:
    fields, normalised = building.stream_fields({"a": "\0"}, {"user_id": "u", "updated_at": 7})
    first = StreamChunk(bytes(16), 5, "s", "assistant", b"s" * 16, 0, 1, "hi", None, fields, normalised)

    made = building.message_of_stream(first, fields, "hi there", "interrupted", 3)

    assert made == Message(
        b"s" * 16, 5, "s", "assistant", "hi there", b'{"a":"\xef\xbf\xbd"}',
        user_id="u", updated_at_us=7, state="interrupted", version=3, normalised=True,
    )  # fmt: skip


def test_stream_without_fields_carries_none() -> None:
    assert building.stream_fields(None, {}) == (None, False)


@given(
    given=st.fixed_dictionaries(
        {"session_id": any_text, "role": any_text},
        optional={
            "content": st.none() | any_text,
            "metadata": st.none() | st.dictionaries(any_text, json_values, max_size=2),
            "user_id": st.none() | any_text,
            "state": st.sampled_from([None, "complete", "interrupted"]),
        },
    )
)
def test_a_message_and_its_array_tell_the_same(given: dict[str, Any]) -> None:
    fields = {name: value for name, value in given.items() if name in building.MESSAGE_FIELDS}
    known: Any = [given.get(name) for name in ("session_id", "role", "content", "metadata")]
    known += [bytes(16), 1_700_000_000_000_000, fields]
    try:
        made = building.message(CLOCK, **given, id=known[4], created_at=known[5])
    except InvalidRecord as exc:
        with pytest.raises(InvalidRecord, match=re.escape(str(exc))):
            building.message_array(CLOCK, *known)
        return

    array = building.message_array(CLOCK, *known)

    assert array == array_of(made)
    assert record_of(array) == made


@pytest.mark.parametrize(("agent", "task", "data"), [(None, None, None), ("a", None, None), (None, "t", {"n": 1})])
def test_a_log_event_and_its_array_tell_the_same(agent: str | None, task: str | None, data: Any) -> None:
    at, record_id = 1_700_000_000_000_000, bytes(16)
    made = log_event(agent_id=agent, task_id=task, data=data, id=record_id, created_at=at)

    array = building.log_array(CLOCK, "info", "e", None, agent, task, data, record_id, at)

    assert trimmed(array) == array_of(made)
    assert record_of(array) == made


@pytest.mark.parametrize("given", [["s"], {"s"}, b"s", "", "s" * 256])
def test_an_id_is_looked_at_however_often_it_comes(given: Any) -> None:
    for _ in range(2):
        message(session_id="s", role="s")
        with pytest.raises(InvalidRecord, match="session_id"):
            message(session_id=given)


def test_very_many_sessions_are_all_taken_as_they_are() -> None:
    sessions = [f"session-{number}" for number in range(10_000)]

    assert [message(session_id=session).session_id for session in sessions] == sessions


def test_a_text_alone_is_left_to_the_worker_to_embed() -> None:
    record = embedding(vector=None, text="some text")

    assert (record.vector, record.text) == (b"", "some text")
    assert decode(encode(record)) == record


@pytest.mark.parametrize("text", [None, ""])
def test_neither_vector_nor_text_is_refused(text: str | None) -> None:
    with pytest.raises(InvalidRecord, match="a text that a worker makes one of"):
        embedding(vector=None, text=text)
