"""What the checker forgives a writer that died, and what it does not."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from penstock.testing import Evidence, Ledger, Verdict, judge
from penstock.testing.evidence import DeadRecord, StoredLog, StoredMessage, StoredValue

A, B = "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"
PARTS = ("one ", "two ", "three")


def row(given: str, at: int, content: str, state: str = "complete") -> StoredMessage:
    return StoredMessage(given, "s", at, content, state, deleted=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "one.ledger")


def judged(ledger: Ledger, *messages: StoredMessage) -> Verdict:
    counters = {"s": len(messages)} if messages else {}
    return judge([ledger.path], Evidence(messages=list(messages), counters=counters))


def test_what_was_not_accepted_may_be_there_or_not(ledger: Ledger) -> None:
    ledger.message(id=A, session="s", content="one")

    assert judged(ledger).sound
    assert judged(ledger, row(A, 1, "one")).sound


def test_what_was_not_accepted_may_not_be_there_twice(ledger: Ledger) -> None:
    ledger.message(id=A, session="s", content="one")

    assert set(judged(ledger, row(A, 1, "one"), row(A, 2, "one")).faults) == {"twice"}


def test_what_was_not_accepted_may_not_be_out_of_order(ledger: Ledger) -> None:
    for given in (A, B):
        ledger.message(id=given, session="s", content=given)

    assert set(judged(ledger, row(B, 1, B), row(A, 2, A)).faults) == {"out_of_order"}


def test_what_the_call_refused_is_a_stranger_in_a_store(ledger: Ledger) -> None:
    ledger.refused(ledger.message(id=A, session="s", content="one"))

    assert set(judged(ledger, row(A, 1, "one")).faults) == {"strangers"}


def opened(ledger: Ledger) -> int:
    number = ledger.stream(id=A, session="s")
    for part in PARTS:
        ledger.chunk(number, part)
    return number


@pytest.mark.parametrize("kept", ["", "one ", "one two three"])
def test_a_stream_whose_writer_died_may_have_any_beginning(ledger: Ledger, kept: str) -> None:
    opened(ledger)

    assert judged(ledger, row(A, 1, kept, "interrupted")).sound


def test_a_stream_whose_writer_died_may_not_have_a_hole(ledger: Ledger) -> None:
    opened(ledger)

    assert set(judged(ledger, row(A, 1, "one three", "interrupted")).faults) == {"texts"}


def test_a_stream_that_nobody_ended_is_not_complete(ledger: Ledger) -> None:
    opened(ledger)

    assert set(judged(ledger, row(A, 1, "one two three")).faults) == {"states"}


@pytest.mark.parametrize("state", ["complete", "interrupted"])
def test_an_accepted_stream_has_its_whole_text_and_its_end(ledger: Ledger, state: str) -> None:
    number = opened(ledger)
    ledger.end(number, state)
    ledger.accepted(number)

    assert judged(ledger, row(A, 1, "one two three", state)).sound
    assert "texts" in judged(ledger, row(A, 1, "one two ", state)).faults
    assert set(judged(ledger, row(A, 1, "one two three", "streaming")).faults) == {"states"}
    assert set(judged(ledger).faults) == {"missing"}


def test_a_letter_of_a_chunk_is_one_of_its_stream(ledger: Ledger) -> None:
    opened(ledger)
    chunk = (bytes(16), 1, "s", "assistant", uuid.UUID(A).bytes, 1, 1, "two ")

    verdict = judge([ledger.path], Evidence(dead=[DeadRecord("messages:0", B, 2, chunk, 1, "chunk 0 never came")]))
    assert verdict.faults == {"unexpected_dead": [f"record {B} in messages:0: chunk 0 never came"]}


def test_after_the_last_accepted_value_a_later_one_may_stand_but_no_earlier_one(ledger: Ledger) -> None:
    for value in (1, 2, 3):
        number = ledger.key_value(key="k", value=value)
        if value == 2:
            ledger.accepted(number)

    def found(value: object) -> set[str]:
        return set(judge([ledger.path], Evidence(values=[StoredValue("default", "k", value)])).faults)

    assert [found(value) for value in (1, 2, 3, 4)] == [{"values"}, set(), set(), {"values"}]
    assert set(judge([ledger.path], Evidence()).faults) == {"missing"}


def test_two_writers_of_one_id_are_one_record(tmp_path: Path) -> None:
    ledgers = [Ledger(tmp_path / f"{name}.ledger") for name in "ab"]
    for each in ledgers:
        each.accepted(each.message(id=A, session="s", content="one"))

    verdict = judge([each.path for each in ledgers], Evidence(messages=[row(A, 1, "one")], counters={"s": 1}))
    assert verdict.sound


def test_a_log_event_is_found_twice_by_what_it_says(ledger: Ledger) -> None:
    ledger.accepted(ledger.log(id=A, event="started", message="now"))

    verdict = judge([ledger.path], Evidence(logs=[StoredLog(A, "started", "now"), StoredLog(B, "started", "now")]))
    assert verdict.twice == [f"log event {A} is also stored as {B}"]


def test_a_ledger_is_read_up_to_where_its_writer_died(ledger: Ledger) -> None:
    ledger.accepted(ledger.message(id=A, session="s", content="one"))
    with ledger.path.open("ab") as file:
        file.write(b'{"n": 2, "kind": "mess')

    assert judged(ledger, row(A, 1, "one")).sound


def test_a_ledger_is_never_gone_on_with(ledger: Ledger) -> None:
    with pytest.raises(FileExistsError):
        Ledger(ledger.path)


def test_a_verdict_with_many_faults_shows_some_and_counts_all(ledger: Ledger) -> None:
    for number in range(30):
        ledger.accepted(ledger.message(id=f"00000000-0000-7000-8000-{number:012}", session="s", content=str(number)))

    told = str(judged(ledger)).splitlines()
    assert (
        told[0]
        == "NOT SOUND: 30 missing (handed over 30, accepted 30, messages 0, logs 0, vectors 0, values 0, dead 0)"
    )
    assert told[-1] == "  ... and 20 more missing"
    assert len(told) == 12
