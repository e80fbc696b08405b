"""`penstock dlq`: the dead letters on the command line."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.stores.sqlite import open_sql
from penstock.wire import building
from penstock.wire.frames import decode_frame
from penstock.wire.ids import RisingClock, format_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record
from tests.system.command import COMMAND, Ran, penstock, process
from tests.system.letter_support import DIED_MS, bury, letter
from tests.system.test_dlq import LOGS, MESSAGES

CLOCK = RisingClock()


def message(content: str = "hello") -> Message:
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
    assert await on(queue, capsys, "purge") == Ran(Code.OK, "", "No dead letters.\n")


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


# Groups, replays and what became of them


async def test_groups_shows_each_cause_with_a_sample(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    letters = [letter(message(), reason=f"vectors of {n} numbers") for n in (3, 4)]
    await bury(queue, MESSAGES, [*letters, letter(message(), reason="too large")])

    people, machine = await on(queue, capsys, "groups"), await on(queue, capsys, "groups", "--json")

    first, second = machine.lines()
    assert (first["letters"], second["letters"]) == (2, 1)
    assert first["fingerprint"] in people.out
    assert "vectors of 4 numbers" in people.out
    listed = await on(queue, capsys, "list", "--json", "--group", first["fingerprint"])
    assert [line["id"] for line in listed.lines()] == [each.record_id for each in letters]
    assert (await on(queue, capsys, "groups", "--lane", "logs")).err == "No such dead letters.\n"


async def test_in_a_narrow_window_a_reason_stands_below_its_row(
    queue: Queue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "collection notes holds vectors of 3 numbers, this one has 4"
    dead = letter(message(), reason=reason)
    await bury(queue, MESSAGES, [dead])
    monkeypatch.setenv("COLUMNS", "80")

    for command in ("list", "groups"):
        said = (await on(queue, capsys, command)).out

        assert max(len(line) for line in said.splitlines()) <= 80
        assert f"\n    rejected: {reason}" in said
        assert dead.record_id in said


async def test_replay_of_nothing_says_so(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--group", "5d11"], ["--group", "5d11", "--dry-run"]):
        assert await on(queue, capsys, "replay", *arguments) == Ran(Code.OK, "", "No such dead letters.\n")


async def test_letters_are_chosen_by_time_and_session(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await bury(queue, MESSAGES, [letter(message()), letter(message(), last_at_ms=DIED_MS + 3_600_000)])

    early = await on(queue, capsys, "list", "--json", "--until", "2023-11-14T22:30")
    late = await on(queue, capsys, "replay", "--json", "--since", "2023-11-14T22:30Z", "--session", "s")
    none = await on(queue, capsys, "purge", "--yes", "--json", "--session", "other")
    wrong = await on(queue, capsys, "list", "--since", "yesterday")

    assert len(early.lines()) == 1
    assert late.json()["replayed"] == 1
    assert none.json()["purged"] == 0
    assert wrong.code == Code.USAGE


async def test_replay_takes_a_limit_and_a_rate(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await bury(queue, MESSAGES, [letter(message()) for _ in range(5)])

    ran = await on(queue, capsys, "replay", "--limit", "3", "--rate", "1000", "--json")

    assert ran.json()["replayed"] == 3


async def test_a_dry_run_tells_what_would_come_of_it(
    queue: Queue, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sql = f"sqlite:///{tmp_path}/p.db"
    store = open_sql(sql)
    await store.setup()
    known, fresh = message(), message()
    await store.write([known])
    await store.close()
    bad = message()._replace(metadata=b"[1]")
    await bury(queue, MESSAGES, [letter(each) for each in (known, fresh, bad)])

    people = await on(queue, capsys, "replay", "--dry-run", "--sql-url", sql)
    machine = await on(queue, capsys, "replay", "--dry-run", "--sql-url", sql, "--json")
    absent = await on(queue, capsys, "replay", "--dry-run", "--sql-url", sql, str(uuid.uuid4()))
    away = await on(queue, capsys, "replay", "--dry-run", "--sql-url", f"sqlite:///{tmp_path}/none.db")

    assert (
        "1 would be stored, 1 would change nothing (the store has the same or newer), 1 would come back" in people.err
    )
    assert format_id(bad.id) in people.out
    told = machine.json()
    assert (told["letters"], told["stored"], told["older"], told["refused"]) == (3, 1, 1, 1)
    assert told["refusals"][0]["reason"] == "message: metadata must be a JSON object, in UTF-8"
    assert (absent.code, away.code) == (Code.NOT_FOUND, Code.AWAY)
    assert (await queue.counts())[MESSAGES].dead == 3


async def test_history_tells_what_became_of_replays(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    assert (await on(queue, capsys, "history")).err == "Nothing was replayed.\n"
    record = message()
    await bury(queue, MESSAGES, [letter(record), letter(message())])
    await on(queue, capsys, "replay")

    people, machine = await on(queue, capsys, "history"), await on(queue, capsys, "history", "--json")
    of_one = await on(queue, capsys, "history", format_id(record.id), "--json")

    assert "pending" in people.out
    assert [line["outcome"] for line in machine.lines()] == ["pending", "pending"]
    assert [line["was"] for line in of_one.lines()] == ["rejected: no such table"]


# Editing


async def test_fields_are_set_by_options(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])
    set_ = ("--set", "content=5 = five", "--set", 'metadata={"by":"hand"}')

    people = await on(queue, capsys, "edit", format_id(record.id), *set_)
    again = await on(queue, capsys, "edit", format_id(record.id), *set_, "--json")
    shown = await on(queue, capsys, "show", format_id(record.id), "--json")

    assert people.err.startswith("Changed content, metadata. Send it again with: penstock dlq replay")
    assert again.json() == {"id": format_id(record.id), "edited": []}
    assert (shown.json()["record"]["content"], shown.json()["record"]["metadata"]) == ("5 = five", {"by": "hand"})
    assert [each["fields"] for each in shown.json()["edits"]] == [["content", "metadata"]]
    assert "content, metadata" in (await on(queue, capsys, "show", format_id(record.id))).out


async def test_a_record_is_taken_whole_from_a_file(
    queue: Queue, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])
    shown = (await on(queue, capsys, "show", format_id(record.id), "--json")).json()["record"]
    (tmp_path / "record.json").write_text(json.dumps({**shown, "content": "new"}))

    ran = await on(queue, capsys, "edit", format_id(record.id), "--file", str(tmp_path / "record.json"), "--json")

    assert ran.json()["edited"] == ["content"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "content"), "no value"),
        (("--set", "session_id=other"), "must stay"),
        (("--set", "contents=x"), "did you mean content"),
        (("--set", "metadata={"), "metadata"),
        (("--file", "/nowhere"), "cannot be read"),
        (("--file", "x", "--set", "content=x"), "not both"),
    ],
)
async def test_a_wrong_edit_is_a_usage_error(
    queue: Queue, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])

    ran = await on(queue, capsys, "edit", format_id(record.id), *arguments)

    assert ran.code == Code.USAGE
    assert told in ran.err


async def test_edit_of_no_letter_is_not_found(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    assert (await on(queue, capsys, "edit", str(uuid.uuid4()), "--set", "content=x")).code == Code.NOT_FOUND


async def test_edit_without_a_terminal_needs_to_be_told(queue: Queue) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])

    ran = await process("dlq", "edit", format_id(record.id), *place(queue))

    assert (ran.code, "give --set or --file" in ran.err) == (Code.USAGE, True)


async def edited_with(queue: Queue, record: Record, script: str, folder: Path) -> tuple[int | None, str]:
    """`dlq edit` on a terminal whose editor is a *script* of sed."""
    editor = folder / "editor"
    editor.write_text(f'#!/bin/sh\nsed -i "{script}" "$1"\n')
    editor.chmod(0o755)
    ours, theirs = os.openpty()
    environment = {**os.environ, "EDITOR": str(editor), "VISUAL": str(editor), "TMPDIR": str(folder)}
    ran = await asyncio.create_subprocess_exec(
        *COMMAND, "dlq", "edit", format_id(record.id), *place(queue), stdin=theirs, stdout=PIPE, stderr=PIPE,
        env=environment,
    )  # fmt: skip
    _, err = await ran.communicate()
    os.close(ours)
    os.close(theirs)
    return ran.returncode, err.decode()


async def test_an_editor_gets_the_record_and_gives_it_back(queue: Queue, tmp_path: Path) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])

    changed = await edited_with(queue, record, "s/hello/good day/", tmp_path)
    left = await edited_with(queue, record, "", tmp_path)

    assert (changed[0], changed[1].splitlines()[-1].startswith("Changed content.")) == (Code.OK, True)
    assert (left[0], left[1].splitlines()[-1]) == (Code.OK, "Nothing was changed.")
    found = await queue.dead_letter(format_id(record.id))
    assert found is not None
    assert b"good day" in found.letter.record


@pytest.mark.parametrize("script", ["s/}/]/", "s/role/roles/"])
async def test_what_was_written_in_vain_is_kept(queue: Queue, tmp_path: Path, script: str) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])

    code, err = await edited_with(queue, record, script, tmp_path)

    (kept,) = tmp_path.glob("penstock-edit-*.json")
    assert (code, str(kept) in err) == (Code.USAGE, True)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (await queue.counts())[MESSAGES].dead == 1


# Files


async def test_letters_travel_as_a_file(queue: Queue, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    await bury(queue, MESSAGES, [letter(message()), letter(message())])
    plain, packed = tmp_path / "letters.jsonl", tmp_path / "letters.jsonl.gz"
    there = ("--redis-url", queue.scripts.url, "--namespace", f"{queue.keys.namespace}-there")

    first = await on(queue, capsys, "export", str(plain))
    second = await on(queue, capsys, "export", str(packed), "--lane", "messages")
    to_output = await on(queue, capsys, "export")
    known = await on(queue, capsys, "import", str(plain))
    imported = await penstock(capsys, "dlq", "import", str(packed), "--json", *there)
    again = await penstock(capsys, "dlq", "import", str(plain), str(packed), *there)
    audit = await penstock(capsys, "audit", "--json", *there)

    assert first.err == second.err == "2 dead letters exported.\n"
    assert to_output.out == plain.read_text() == gzip.decompress(packed.read_bytes()).decode()
    assert known.err == "0 dead letters imported; 2 were here already.\n"
    assert imported.json() == {"imported": 2, "records": 2, "known": 0, "refused": 0}
    assert again.err == "0 dead letters imported; 4 were here already.\n"
    assert audit.code == Code.OK


async def test_a_broken_file_is_told_with_its_line(
    queue: Queue, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    await bury(queue, MESSAGES, [letter(message())])
    whole = tmp_path / "letters.jsonl"
    await on(queue, capsys, "export", str(whole))
    (tmp_path / "cut").write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:-1]))
    (tmp_path / "other").write_text("{}\n")

    cut = await on(queue, capsys, "import", str(tmp_path / "cut"))
    other = await on(queue, capsys, "import", str(tmp_path / "other"))
    absent = await on(queue, capsys, "import", str(tmp_path / "none"))

    assert cut.code == Code.NO
    assert f"{tmp_path}/cut:3: the file ends before its last line" in cut.err
    assert (other.code, absent.code) == (Code.USAGE, Code.USAGE)


async def test_a_killed_replay_is_gone_on_with_and_moves_each_letter_once(queue: Queue) -> None:
    sent = [message() for _ in range(3_000)]
    await bury(queue, MESSAGES, [letter(each) for each in sent])
    command = await asyncio.create_subprocess_exec(*COMMAND, "dlq", "replay", "--rate", "500", *place(queue))
    while (await queue.counts())[MESSAGES].pending < 300:
        await asyncio.sleep(0)
    command.kill()
    await command.wait()

    between = (await queue.counts())[MESSAGES]
    assert 300 <= between.pending < 3_000
    assert between.balanced
    ran = await process("dlq", "replay", "--json", *place(queue))
    assert ran.json()["replayed"] == 3_000 - between.pending
    entries = await queue.read(MESSAGES, 10_000)
    assert [record.id for each in entries for record in decode_frame(each.frame)] == [each.id for each in sent]
