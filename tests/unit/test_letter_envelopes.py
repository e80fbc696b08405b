"""What lies beside a dead record, what a replay carries on of it, and which letters count as alike."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.letters import MOST_EDITS, Edit, Envelope, Note, Past, fingerprint, likeness

WHOLE = Envelope(
    lane="state",
    record_kind="task",
    kind="rejected",
    reason="no",
    attempts=4,
    first_at_ms=1,
    last_at_ms=2,
    worker="host:1",
    version="0.1.0",
    fingerprint="abc",
    replays=2,
    replayed_as="1-1",
    edits=(Edit(1, ("content",)), Edit(2, ("role", "data"))),
)


@pytest.mark.parametrize("envelope", [WHOLE, Envelope(), Envelope(reason="no")])
def test_an_envelope_comes_back_as_it_was(envelope: Envelope) -> None:
    assert Envelope.unpack(envelope.pack()) == envelope


def test_what_another_release_writes_more_or_less_of_is_no_hindrance() -> None:
    assert Envelope.unpack(msgpack.packb({"kind": "rejected", "of_tomorrow": [1]})) == Envelope(kind="rejected")


def test_an_envelope_names_what_those_who_wait_for_the_record_are_told() -> None:
    assert msgpack.unpackb(WHOLE.pack())["kind"] == "rejected"
    assert msgpack.unpackb(WHOLE.pack())["reason"] == "no"


def test_a_replay_carries_on_what_the_next_letter_adds_to() -> None:
    past = Past.unpack(WHOLE.past("letter").pack())

    assert past == Past(1, 4, 3, WHOLE.edits, "letter")


def test_a_letter_remembers_its_latest_edits() -> None:
    envelope = Envelope()
    for at in range(MOST_EDITS + 3):
        envelope = envelope.edited(Edit(at, ("content",)))

    assert [each.at_ms for each in envelope.edits] == list(range(3, MOST_EDITS + 3))


def test_a_note_tells_why_the_letter_was_there_and_which_replay_had_ended_there() -> None:
    note = Note.unpack(Note.of(WHOLE, 9).pack())

    assert note == Note("rejected", "no", "task", "1-1", 2, 9)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("vectors of 3 numbers", "vectors of 1,536 numbers"),
        ("row 019b2c1e-1111-7222-8333-444455556666 is there", "row 019b2c1e-9999-7222-8333-444455550000 is there"),
        ("column 'a' of \"t\"", "column 'b c' of \"u\""),
        ("hash 0xdeadbeef99 differs", "hash 00ff00ff11 differs"),
        ("took 1.5 s", "took 20 s"),
        ("key `a`", "key `b`"),
    ],
)
def test_reasons_that_differ_in_ids_numbers_and_quoted_parts_are_alike(one: str, other: str) -> None:
    assert likeness(one) == likeness(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("UniqueViolation (23505, constraint a)", "UniqueViolation (23505, constraint b)"),
        ("it doesn't fit and can't be cut", "it doesn't fit but can't be cut"),
        ("message: content holds NUL", "message: role holds NUL"),
    ],
)
def test_reasons_that_differ_in_their_words_are_not_alike(one: str, other: str) -> None:
    assert likeness(one) != likeness(other)


def test_a_fingerprint_tells_lanes_and_kinds_apart() -> None:
    base = ("messages", "message", "rejected", "no")
    others = [("state", *base[1:]), ("messages", "chunk", *base[2:]), (*base[:2], "strategy", "no"), (*base[:3], "yes")]

    assert len({fingerprint(*each) for each in (base, *others)}) == 5
    assert fingerprint(*base) == "5c36acf817c7"  # letters of older workers are grouped with new ones


@given(st.text())
def test_any_reason_has_a_fingerprint(reason: str) -> None:
    assert len(fingerprint("logs", "log_event", "rejected", reason)) == 12
