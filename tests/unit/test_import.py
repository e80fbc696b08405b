"""Chat messages become records of ours and come back equal, whatever keys they have."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.conversations import NotAConversation, Turn, pieces_of, to_openai, turns_of
from penstock.stores.rows import StoredMessage
from penstock.wire import building
from penstock.wire.ids import RisingClock, format_id, from_us
from penstock.wire.text import load_object

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": text})
    | st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.dictionaries(text, json_values, max_size=2)})
    | json_values,
    max_size=4,
)
messages = st.builds(
    lambda extra, role, content: {**extra, "role": role, **content},
    st.dictionaries(text.filter(lambda key: key not in ("role", "content")), json_values, max_size=4),
    st.sampled_from(["system", "user", "assistant", "tool", "developer"]),
    st.just({}) | st.fixed_dictionaries({"content": text | st.none() | parts}),
)


def stored(turn: Turn) -> StoredMessage:
    """What a reader gives back for *turn*, having gone through the record that a producer makes."""
    record = building.message(
        RisingClock(),
        session_id=turn.session_id,
        role=turn.role,
        content=turn.content,
        metadata=turn.metadata,
        id=turn.id,
    )
    at = from_us(record.created_at_us)
    return StoredMessage(
        id=format_id(record.id),
        session_id=record.session_id,
        role=record.role,
        content=record.content,
        metadata=load_object(record.metadata),
        created_at=at,
        updated_at=at,
    )


def line(*chat: Any, session_id: Any = "s-1") -> bytes:
    return json.dumps({"session_id": session_id, "messages": chat}).encode()


@given(st.lists(messages, max_size=4))
def test_a_to_openai_comes_back_equal_key_for_key(chat: list[dict[str, Any]]) -> None:
    turns = turns_of(line(*chat))

    assert [to_openai(stored(turn)) for turn in turns] == chat
    assert len({turn.id for turn in turns}) == len(chat)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": []},
        {"role": "assistant", "content": "", "refusal": None},
        {"role": "tool", "content": "42", "tool_call_id": "c1", "name": "f"},
        {"role": "user", "content": [{"type": "text", "text": "see "}, {"type": "image_url", "image_url": {}}]},
        {"role": "user", "content": []},
    ],
)
def test_each_form_of_content_comes_back(message: dict[str, Any]) -> None:
    (turn,) = turns_of(line(message))

    assert to_openai(stored(turn)) == message


def test_the_text_parts_are_the_content() -> None:
    content = [{"type": "text", "text": "one "}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    (turn,) = turns_of(line({"role": "user", "content": content}))

    assert turn.content == "one two"
    assert turn.metadata == {"content": content}


def test_a_message_has_the_same_id_in_every_import() -> None:
    hello = {"role": "user", "content": "hello"}
    reordered = {"content": "hello", "role": "user"}

    assert turns_of(line(hello))[0].id == turns_of(line(reordered))[0].id
    assert turns_of(line(hello))[0].id != turns_of(line(hello, session_id="s-2"))[0].id
    first, second = turns_of(line(hello, hello))
    assert first.id != second.id


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "an object is needed, not a list"),
        (b'{"messages": []}', "session_id must be a text, not null"),
        (b'{"session_id": "", "messages": []}', "session_id must be a text, not an empty text"),
        (b'{"session_id": "s"}', "messages must be a list, not null"),
        (line(7), r"messages\[0\] must be an object, not a number"),
        (line({"role": "user"}, {}), r"messages\[1\].role must be a text, not null"),
        (line({"role": "user", "content": 7}), r"messages\[0\].content must be a text, a list or null, not a number"),
    ],
)
def test_a_line_of_another_shape_is_refused_with_the_place_and_the_need(broken: bytes, reason: str) -> None:
    with pytest.raises(NotAConversation, match=reason):
        turns_of(broken)


@given(st.text(max_size=100), st.integers(1, 9))
def test_the_pieces_of_a_text_make_the_text(whole: str, characters: int) -> None:
    pieces = list(pieces_of(whole, characters))

    assert "".join(pieces) == whole
    assert all(0 < len(piece) <= characters for piece in pieces)


def test_times_rise_within_a_session() -> None:
    clock = RisingClock(lambda: int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000_000))
    records = [
        building.message(clock, session_id=turn.session_id, role=turn.role, id=turn.id)
        for turn in turns_of(line(*[{"role": "user"}] * 5))
    ]

    times = [record.created_at_us for record in records]
    assert times == sorted(set(times))
