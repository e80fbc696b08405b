"""The rows that messages become, before they have numbers of sessions."""

from __future__ import annotations

from penstock.stores.sqlite.drafts import numbered, rows_of
from penstock.wire.ids import new_id
from penstock.wire.records import Message

NUMBERS = {"a": 1, "b": 2}


def messages(sessions: str) -> list[Message]:
    return [Message(new_id(), 1_000 + place, session, "user", "text") for place, session in enumerate(sessions)]


def test_messages_of_a_session_lie_together_in_their_order() -> None:
    made = rows_of(messages("babab"))

    [(statement, rows, runs)] = made.drafts
    assert statement == "insert_plain_message"
    assert list(runs) == [("a", 2), ("b", 3)]
    assert rows.values[1 :: rows.width] == [1_001, 1_003, 1_000, 1_002, 1_004]
    assert [(row[0], row[3]) for row in made.sessions.values()] == [("a", 2), ("b", 3)]


def test_numbers_take_the_place_of_sessions_and_the_draft_stays_as_it_is() -> None:
    [draft] = rows_of(messages("bab")).drafts

    assert numbered(draft, NUMBERS).values[2 :: draft.rows.width] == [1, 2, 2]
    assert draft.rows.values[2 :: draft.rows.width] == ["a", "b", "b"]


def test_each_message_goes_by_the_shortest_statement_that_has_its_fields() -> None:
    plain, with_metadata, whole = messages("aaa")

    made = rows_of([plain, with_metadata._replace(metadata=b"{}"), whole._replace(user_id="u")])

    assert [(draft.statement, draft.rows.width) for draft in made.drafts] == [
        ("insert_plain_message", 5),
        ("insert_message_with_metadata", 6),
        ("insert_message", len(Message._fields)),
    ]
