"""`penstock query` for state: tasks, agents, contexts, key-values, statistics, and filters of JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.cli.exits import Code
from penstock.stores.registry import sql_store
from penstock.wire import building
from penstock.wire.building_state import StateBuilder
from penstock.wire.ids import RisingClock, StampClock
from penstock.wire.records import Record
from tests.system.command import Ran, penstock

NOON_US = 1_769_860_800_000_000  # 2026-01-31 12:00 UTC


@pytest.fixture
async def sql_url(tmp_path: Path) -> str:
    """A database with the work of two agents."""
    url = f"sqlite:///{tmp_path}/penstock.db"
    clock = RisingClock(lambda: NOON_US)
    state = StateBuilder(clock, StampClock(b"producer", lambda: NOON_US))
    lasting: dict[str, Any] = {"agent_id": "ada", "session_id": "s"}
    records: list[Record] = [
        state.task(task_id="t1", agent_id="ada", task_type="crawl", status="completed", duration_s=2.5),
        state.task(task_id="t2", agent_id="ada", status="failed", error="no answer", data={"type": "tech"}),
        state.task(task_id="t3", agent_id="bob", enabled=False, description="nightly \x1b[2J", data={"type": "art"}),
        state.agent_state(agent_id="ada", state="busy", role="coder", goal="Write clean code", stats={"done": 2}),
        state.agent_state(agent_id="bob", state="archived", role="analyst"),
        state.context(context_id="c1", data={"type": "tech"}, **lasting),
        state.context(context_id="c2", data={}, expires_at=NOON_US + 1, **lasting),
        state.key_value(key="mode/a", value={"on": True}),
        state.key_value(key="mode_b", value=None),
        state.key_value(key="mode/a", value="elsewhere", namespace="other"),
        building.log_event(clock, level="error", event="failed", agent_id="ada", data={"type": "tech"}),
        building.log_event(clock, level="info", event="began", agent_id="ada", data={"type": "art"}),
        building.message(clock, session_id="s", role="user", content="hello", metadata={"type": "tech"}),
        building.message(clock, session_id="s", role="tool", content="42", metadata={"type": "art"}),
    ]
    store = sql_store(url)
    await store.setup()
    await store.write(records)
    await store.close()
    return url


async def query(capsys: pytest.CaptureFixture[str], sql_url: str, *arguments: str) -> Ran:
    return await penstock(capsys, "query", *arguments, "--sql-url", sql_url)


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], ["t1", "t2", "t3"]),
        (["--agent", "ada", "--newest-first"], ["t2", "t1"]),
        (["--status", "failed"], ["t2"]),
        (["--type", "crawl"], ["t1"]),
        (["--disabled"], ["t3"]),
        (["--enabled", "--until", "2026-01-31"], []),
        (["--where", '{"type": {"$in": ["tech", "art"]}}', "--agent", "bob"], ["t3"]),
        (["--limit", "1", "--all"], ["t1", "t2", "t3"]),
    ],
    ids=str,
)
async def test_tasks_are_listed(
    arguments: list[str], ids: list[str], sql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await query(capsys, sql_url, "tasks", "--json", *arguments)

    assert ran.code == Code.OK
    assert [line["id"] for line in ran.lines()] == ids


async def test_people_see_what_a_task_says(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await query(capsys, sql_url, "tasks")

    assert "[no answer]" in ran.out
    assert "nightly" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "agents"),
    [
        ([], ["ada", "bob"]),
        (["--active"], ["ada"]),
        (["--archived"], ["bob"]),
        (["--role", "coder", "--role", "analyst", "--state", "archived"], ["bob"]),
    ],
    ids=str,
)
async def test_states_are_listed(
    arguments: list[str], agents: list[str], sql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await query(capsys, sql_url, "states", "--json", *arguments)

    assert [line["agent_id"] for line in ran.lines()] == agents


async def test_people_see_what_an_agent_is_about(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await query(capsys, sql_url, "states", "--active")

    assert "Write clean code" in ran.out
    assert "2026-01-31 12:00:00" in ran.out


async def test_contexts_that_have_expired_are_not_listed(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await query(capsys, sql_url, "contexts", "--agent", "ada", "--session", "s", "--json")
    none = await query(capsys, sql_url, "contexts", "--where", '{"type": "art"}')

    assert [(line["id"], line["data"]) for line in ran.lines()] == [("c1", {"type": "tech"})]
    assert "Nothing found." in none.err


async def test_values_are_listed_by_a_literal_prefix(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    all_ = await query(capsys, sql_url, "values", "--json")
    some = await query(capsys, sql_url, "values", "mode_", "--json")
    other = await query(capsys, sql_url, "values", "--namespace", "other")

    assert [(line["key"], line["value"]) for line in all_.lines()] == [("mode/a", {"on": True}), ("mode_b", None)]
    assert [line["key"] for line in some.lines()] == ["mode_b"]
    assert '"elsewhere"' in other.out


async def test_the_statistics_of_an_agent_are_shown(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = await query(capsys, sql_url, "statistics", "ada")
    ran = await query(capsys, sql_url, "statistics", "ada", "--json")

    (line,) = ran.lines()
    assert (line["tasks"], line["tasks_by_status"]) == (2, {"completed": 1, "failed": 1})
    assert (line["success_rate"], line["average_duration_s"], line["contexts"]) == (0.5, 2.5, 1)
    assert line["logs_by_level"] == {"info": 1, "error": 1}
    for told in ("tasks completed", "50.0%", "2.5 s", "log events error", "contexts"):
        assert told in shown.out


async def test_an_agent_that_nothing_is_known_of_has_done_nothing(
    sql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await query(capsys, sql_url, "statistics", "nobody")

    assert ran.code == Code.OK
    assert "success rate" in ran.out


@pytest.mark.parametrize(("what", "found"), [("messages", "hello"), ("logs", "failed"), ("tasks", "t2")])
async def test_a_filter_of_json_picks_what_matches(
    what: str, found: str, sql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await query(capsys, sql_url, what, "--where", '{"type": "tech"}', "--json")

    (line,) = ran.lines()
    assert found in line.values()


@pytest.mark.parametrize("what", ["messages", "logs", "tasks", "contexts"])
@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("{", "--where is no JSON"),
        ("[]", "a filter is a mapping"),
        ('{"a": {"$like": "x"}}', "unknown operator '$like'"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_a_usage_error(
    what: str, where: str, reason: str, sql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await query(capsys, sql_url, what, "--where", where)

    assert ran.code == Code.USAGE
    assert reason in ran.err
    assert ran.err.count("\n") == 1


async def test_several_roles_and_the_last_message(sql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    both = await query(capsys, sql_url, "messages", "--role", "user", "--role", "tool", "--json")
    one = await query(capsys, sql_url, "messages", "--role", "tool", "--json")
    last = await query(capsys, sql_url, "sessions", "--last-message")
    plain = await query(capsys, sql_url, "sessions", "--json", "--since", "2026-01-31T12:00:00Z")

    assert [line["content"] for line in both.lines()] == ["hello", "42"]
    assert [line["content"] for line in one.lines()] == ["42"]
    assert "42" in last.out
    assert [line["last_message"] for line in plain.lines()] == [None]
