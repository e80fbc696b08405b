"""`penstock dlq`: the dead letters on the command line."""

from __future__ import annotations

import asyncio
import os
import uuid
from asyncio.subprocess import PIPE

import pytest

from penstock.cli.exits import Code
from penstock.wire import building
from penstock.wire.ids import RisingClock, format_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Record
from tests.system.command import COMMAND, Ran, penstock, process
from tests.system.letter_support import bury, letter
from tests.system.test_dlq import LOGS, MESSAGES

CLOCK = RisingClock()


def message(content: str = "hello") -> Record:
    return building.message(CLOCK, session_id="s", role="user", content=content)


def place(queue: Queue) -> tuple[str, ...]:
    return ("--redis-url", queue.scripts.url, "--namespace", queue.keys.namespace)


async def on(queue: Queue, capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    return await penstock(capsys, "dlq", *arguments, *place(queue))


async def test_list_shows_each_letter_with_its_reason(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])

    people, machine = await on(queue, capsys, "list"), await on(queue, capsys, "list", "--json")

    assert format_id(record.id) in people.out
    assert "no such table" in people.out
    (line,) = machine.lines()
    assert (line["id"], line["lane"], line["error_kind"]) == (format_id(record.id), "messages", "rejected")
    assert line["first_at"] == "2023-11-14T22:13:20+00:00"


async def test_list_of_nothing_says_so_and_prints_no_data(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    assert await on(queue, capsys, "list", "--json") == Ran(Code.OK, "", "No dead letters.\n")


async def test_list_takes_a_lane_a_kind_and_a_limit(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await bury(queue, MESSAGES, [letter(message()), letter(message(), "undecodable")])
    log = building.log_event(CLOCK, level="info", event="e")
    await bury(queue, LOGS, [letter(log)])

    by_lane = await on(queue, capsys, "list", "--json", "--lane", "logs")
    by_kind = await on(queue, capsys, "list", "--json", "--kind", "undecodable")
    limited = await on(queue, capsys, "list", "--json", "--limit", "2")

    assert [line["id"] for line in by_lane.lines()] == [format_id(log.id)]
    assert [line["error_kind"] for line in by_kind.lines()] == ["undecodable"]
    assert len(limited.lines()) == 2


async def test_list_of_nothing_of_a_kind_says_that_there_may_be_others(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    await bury(queue, MESSAGES, [letter(message())])

    ran = await on(queue, capsys, "list", "--kind", "refused")

    assert ran == Ran(Code.OK, "", "No such dead letters.\n")


async def test_an_unknown_lane_is_a_usage_error_with_the_known_ones(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await on(queue, capsys, "list", "--lane", "mesages")

    assert ran.code == Code.USAGE
    assert "messages, logs, embeddings" in ran.err


async def test_show_prints_the_record(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    record = message("the whole text")
    await bury(queue, MESSAGES, [letter(record)])

    people = await on(queue, capsys, "show", format_id(record.id))
    machine = await on(queue, capsys, "show", format_id(record.id), "--json")

    assert "the whole text" in people.out
    assert "no such table" in people.out
    assert machine.json()["record"]["content"] == "the whole text"


async def test_show_shortens_a_vector_for_people_only(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    record = building.embedding(CLOCK, collection="c", id="k", vector=[0.5] * 100)
    await bury(queue, Partition("embeddings", 0), [letter(record)])

    people = await on(queue, capsys, "show", format_id(record.id))
    machine = await on(queue, capsys, "show", format_id(record.id), "--json")

    assert "100 numbers" in people.out
    assert machine.json()["record"]["vector"] == [0.5] * 100


async def test_show_of_no_letter_is_not_found(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    absent = await on(queue, capsys, "show", str(uuid.uuid4()))
    no_id = await on(queue, capsys, "show", "seven")

    assert (absent.code, no_id.code) == (Code.NOT_FOUND, Code.USAGE)


async def test_a_reason_cannot_command_the_terminal(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    record = message("\x1b]0;title\x07 [bold]text")
    await bury(queue, MESSAGES, [letter(record)])

    shown = await on(queue, capsys, "show", format_id(record.id))

    assert "\x1b" not in shown.out
    assert "[bold]text" in shown.out


async def test_replay_sends_letters_again(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = message(), message()
    await bury(queue, MESSAGES, [letter(first), letter(second)])

    one = await on(queue, capsys, "replay", format_id(first.id))
    rest = await on(queue, capsys, "replay", "--json")

    assert one == Ran(Code.OK, "", "1 dead letter replayed.\n")
    assert rest.json() == {"replayed": 1, "records": 1, "missing": []}
    assert (await queue.counts())[MESSAGES].pending == 2


async def test_replay_of_an_id_without_a_letter_is_not_found(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    absent = str(uuid.uuid4())

    ran = await on(queue, capsys, "replay", absent)

    assert ran.code == Code.NOT_FOUND
    assert absent in ran.err


async def test_ids_and_filters_together_are_a_usage_error(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await on(queue, capsys, "purge", str(uuid.uuid4()), "--lane", "logs", "--yes")

    assert ran.code == Code.USAGE


async def test_purge_without_a_terminal_needs_yes(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message())])

    refused = await process("dlq", "purge", *place(queue))

    assert refused.code == Code.USAGE
    assert refused.err == "error: purge removes 1 dead letter for good; without a terminal it needs --yes\n"
    assert (await queue.counts())[MESSAGES].dead == 1


async def test_purge_with_yes_removes(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await bury(queue, MESSAGES, [letter(message())])

    ran = await on(queue, capsys, "purge", "--yes")

    assert ran == Ran(Code.OK, "", "1 dead letter purged.\n")
    assert (await queue.counts())[MESSAGES].dead == 0


async def test_purge_of_no_id_is_refused_before_anybody_is_asked(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await on(queue, capsys, "purge", "nope")

    assert (ran.code, ran.err.startswith("error: id: got 'nope'; a UUID is needed")) == (Code.USAGE, True)


async def test_purge_of_nothing_asks_nobody(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    assert await on(queue, capsys, "purge") == Ran(Code.OK, "", "0 dead letters purged.\n")


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", Code.NO, 1), (b"y\n", Code.OK, 0)])
async def test_purge_asks_on_a_terminal(queue: Queue, answer: bytes, code: Code, left: int) -> None:
    await bury(queue, MESSAGES, [letter(message())])
    ours, theirs = os.openpty()
    os.write(ours, answer)

    asked = await asyncio.create_subprocess_exec(
        *COMMAND, "dlq", "purge", *place(queue), stdin=theirs, stdout=PIPE, stderr=PIPE
    )
    _, err = await asked.communicate()
    os.close(ours)
    os.close(theirs)

    assert b"Remove 1 dead letter for good?" in err
    assert asked.returncode == code
    assert (await queue.counts())[MESSAGES].dead == left
