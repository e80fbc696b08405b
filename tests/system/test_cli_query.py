"""`penstock query`: what is stored, for people and as JSON lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.exits import Code
from penstock.stores.registry import sql_store, vector_store
from penstock.wire import building
from penstock.wire.ids import RisingClock
from penstock.wire.records import Record
from tests.system.command import Ran, penstock

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

CLOCK = RisingClock(lambda: int(NOON.timestamp() * 1_000_000))


def message(session_id: str, role: str = "user", **fields: Any) -> Record:
    return building.message(CLOCK, session_id=session_id, role=role, **fields)


@pytest.fixture
async def sql_url(tmp_path: Path) -> str:
    """A database with two sessions and two log events."""
    url = f"sqlite:///{tmp_path}/penstock.db"
    calls = [{"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}]
    records = [
        message("one", content="hello\nthere", user_id="u"),
        message("one", "assistant", metadata={"tool_calls": calls}),
        message("one", "assistant", content="half", state="interrupted"),
        message("two", content="\x1b[2Jbye"),
        building.log_event(CLOCK, level="info", event="started", agent_id="a"),
        building.log_event(CLOCK, level="error", event="failed", message="no answer", data={"tries": 3}),
    ]
    store = sql_store(url)
    await store.setup()
    await store.write(records)
    await store.close()
    return url


@pytest.fixture
async def vector_url(tmp_path: Path) -> str:
    url = f"lancedb:///{tmp_path}/vectors"
    store = vector_store(url)
    await store.setup()
    for key, vector in (("near", [1.0, 0.1]), ("far", [0.0, 1.0])):
        tags = {"lang": "en" if key == "near" else "de"}
        await store.write(
            [building.embedding(CLOCK, collection="docs", id=key, vector=vector, text=key, metadata=tags)]
        )
    await store.close()
    return url


async def messages(capsys: pytest.CaptureFixture[str], sql_url: str, *arguments: str) -> Ran:
    return await penstock(capsys, "query", "messages", "--sql-url", sql_url, *arguments)


async def test_messages_of_a_session_in_their_order(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await messages(capsys, sql_url, "--session", "one", "--json")

    assert ran.code == Code.OK
    assert [line["content"] for line in ran.lines()] == ["hello\nthere", None, "half"]
    created = datetime.fromisoformat(ran.lines()[0]["created_at"])
    assert NOON <= created < NOON + timedelta(seconds=1)


async def test_people_see_one_line_a_message_whatever_it_holds(
    sql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await messages(capsys, sql_url)

    assert "hello there" in ran.out
    assert "[calls find]" in ran.out
    assert "[interrupted] half" in ran.out
    assert "\x1b" not in ran.out


async def test_what_was_deleted_is_told_from_what_was_not(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = sql_store(sql_url)
    await store.write([message("one", content="taken back", deleted_at=NOON)])
    await store.close()

    shown, all_ = await messages(capsys, sql_url), await messages(capsys, sql_url, "--deleted")

    assert "taken back" not in shown.out
    assert (all_.out.count("[deleted]"), "[deleted] taken back" in all_.out) == (1, True)


async def test_a_page_ends_with_the_cursor_that_leads_on(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = await messages(capsys, sql_url, "--json", "--limit", "3")
    cursor = first.err.removeprefix("More: --after ").strip()
    second = await messages(capsys, sql_url, "--json", "--limit", "3", "--after", cursor)

    assert len(first.lines()) == 3
    assert [line["session_id"] for line in second.lines()] == ["two"]
    assert second.err == ""


async def test_all_pages_follow_one_another(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await messages(capsys, sql_url, "--json", "--limit", "1", "--all")

    assert len(ran.lines()) == 4
    assert ran.err == ""


async def test_messages_are_filtered(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    by_user = await messages(capsys, sql_url, "--json", "--user", "u")
    by_role = await messages(capsys, sql_url, "--json", "--role", "assistant", "--newest-first")
    by_time = await messages(capsys, sql_url, "--since", "2026-02-01")

    assert len(by_user.lines()) == 1
    assert [line["content"] for line in by_role.lines()] == ["half", None]
    assert by_time == Ran(Code.OK, "", "Nothing found.\n")


async def test_sessions_have_their_counts(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    people = await penstock(capsys, "query", "sessions", "--sql-url", sql_url)
    machine = await penstock(capsys, "query", "sessions", "--sql-url", sql_url, "--json")

    assert "2026-01-31 12:00:00" in people.out
    assert {line["id"]: line["message_count"] for line in machine.lines()} == {"one": 3, "two": 1}


async def test_logs_from_a_level_on(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    people = await penstock(capsys, "query", "logs", "--sql-url", sql_url)
    machine = await penstock(capsys, "query", "logs", "--sql-url", sql_url, "--min-level", "warning", "--json")

    assert 'no answer {"tries":3}' in people.out
    assert [(line["level"], line["event"], line["data"]) for line in machine.lines()] == [
        ("error", "failed", {"tries": 3})
    ]


async def test_a_search_gives_the_nearest_first(vector_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    search = ("query", "search", "docs", "--vector-url", vector_url, "--vector", "[1, 0]")

    both = await penstock(capsys, *search, "--json")
    people = await penstock(capsys, *search, "--top-k", "1")
    german = await penstock(capsys, *search, "--json", "--where", '{"lang": "de"}')

    assert [line["id"] for line in both.lines()] == ["near", "far"]
    assert "near" in people.out
    assert "far" not in people.out
    assert [line["id"] for line in german.lines()] == ["far"]


async def test_a_vector_may_come_from_a_file(
    vector_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vector.json"
    file.write_text("[0, 1]")

    ran = await penstock(
        capsys, "query", "search", "docs", "--vector-url", vector_url, "--vector-file", str(file), "--json"
    )

    assert ran.lines()[0]["id"] == "far"


async def test_vectors_are_shown_by_their_ids(vector_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("query", "vectors", "docs", "near", "none", "--vector-url", vector_url)

    machine = await penstock(capsys, *asked, "--json")
    people = await penstock(capsys, *asked)

    (line,) = machine.lines()
    assert (line["id"], line["vector"], line["metadata"]) == ("near", [1.0, pytest.approx(0.1)], {"lang": "en"})
    assert (machine.code, people.code) == (Code.NOT_FOUND, Code.NOT_FOUND)
    assert "none" in people.err
    assert "near" in people.out


async def test_collections_are_listed_with_their_counts(vector_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    machine = await penstock(capsys, "query", "collections", "--vector-url", vector_url, "--json")
    people = await penstock(capsys, "query", "collections", "--vector-url", vector_url)

    assert machine.lines() == [{"collection": "docs", "vectors": 2}]
    assert "docs" in people.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--vector", "[1, 0]", "--metric", "near"], "cosine, dot, l2"),
        (["--vector", "[1, 0"], "--vector is no JSON"),
        (["--vector", "[1, 0, 0]"], "3"),
        (["--vector", '"text"'], "vector"),
        (["--vector", "[1, 0]", "--where", "{"], "--where is no JSON"),
        (["--vector", "[1, 0]", "--where", '{"lang": {"$like": "e"}}'], "$like"),
        ([], "--vector, --vector-file and --text"),
    ],
)
async def test_a_search_that_cannot_be_asked_is_a_usage_error(
    arguments: list[str], reason: str, vector_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await penstock(capsys, "query", "search", "docs", "--vector-url", vector_url, *arguments)

    assert ran.code == Code.USAGE
    assert reason in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--after", "damaged"], ["--since", "yesterday"]])
async def test_a_question_that_cannot_be_asked_is_a_usage_error(
    arguments: list[str], sql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await messages(capsys, sql_url, *arguments)

    assert ran.code == Code.USAGE


async def test_a_database_that_does_not_exist_is_told_and_not_created(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await messages(capsys, f"sqlite:///{tmp_path}/absent.db")

    assert ran.code == Code.AWAY
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "absent.db").exists()


async def test_vectors_are_exported_and_imported_elsewhere(
    vector_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, other = str(tmp_path / "vectors.jsonl.gz"), f"lancedb:///{tmp_path}/other"

    out = await penstock(capsys, "export", file, "--vectors", "--vector-url", vector_url)
    back = await penstock(capsys, "import", file, "--vector-url", other, "--json")
    found = await penstock(capsys, "query", "vectors", "docs", "near", "far", "--vector-url", other, "--json")
    none = await penstock(capsys, "export", file, "--collection", "nowhere", "--vector-url", vector_url)

    assert (out.code, back.code, none.code) == (Code.OK, Code.OK, Code.NOT_FOUND)
    assert back.json() == {"records": 2, "new": 2, "refused": 0}
    assert [line["id"] for line in found.lines()] == ["near", "far"]
