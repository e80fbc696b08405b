"""`penstock health`, and what `penstock status` says of the SQL store."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.direct import open_store
from penstock.wire.queue import Queue
from tests.system.command import penstock


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """Of a store with two messages and a task."""
    url = f"sqlite:///{tmp_path}/p.db"
    async with open_store(url) as store:
        await store.message(session_id="s", role="user", content="1")
        await store.message(session_id="s", role="user", content="2")
        await store.task(task_id="t")
    return url


def place(queue: Queue) -> tuple[str, ...]:
    return "--redis-url", queue.scripts.url, "--namespace", queue.keys.namespace


async def test_a_system_that_is_well_is_told_check_by_check(
    queue: Queue, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await penstock(capsys, "health", "--json", "--sql-url", url, *place(queue))

    seen = ran.json()
    assert ran.code == Code.OK
    assert seen["healthy"]
    assert [check["name"] for check in seen["checks"]] == ["queue", "answers", "schema", "writable", "disk", "log"]
    assert all(check["latency_ms"] >= 0 for check in seen["checks"])


async def test_a_queue_that_is_away_is_told_beside_the_store(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    away = ("--redis-url", "redis://127.0.0.1:1/0")
    ran = await penstock(capsys, "health", "--json", "--sql-url", url, *away)
    alone = await penstock(capsys, "health", "--no-queue", "--sql-url", url, *away)

    assert ran.code == Code.NO
    assert [check["name"] for check in ran.json()["checks"] if not check["healthy"]] == ["queue"]
    assert alone.code == Code.OK
    assert "a row was written and taken back" in alone.out


async def test_a_queue_that_loses_records_is_not_well(
    own_server: Queue, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    well = await penstock(capsys, "health", "--sql-url", url, *place(own_server))
    await own_server.client.config_set("appendonly", "no")
    ill = await penstock(capsys, "health", "--json", "--sql-url", url, *place(own_server))

    assert well.code == Code.OK
    assert "no maxmemory" in well.out
    assert ill.code == Code.NO
    assert "it keeps nothing on disk" in ill.json()["checks"][0]["detail"]


async def test_a_store_that_is_not_there_is_not_made(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await penstock(capsys, "health", "--sql-url", f"sqlite:///{tmp_path}/none.db", *place(queue))

    assert ran.code == Code.NO
    assert "no such database" in ran.out
    assert list(tmp_path.iterdir()) == []


async def test_status_shows_the_store_where_its_url_is_given(
    queue: Queue, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = await penstock(capsys, "status", "--sql-url", url, *place(queue))
    seen = (await penstock(capsys, "status", "--json", "--sql-url", url, *place(queue))).json()["store"]
    without = (await penstock(capsys, "status", "--json", *place(queue))).json()

    assert "Store: well, slowest check" in told.out
    assert "messages 2, sessions 1, logs 0, tasks 1, " in told.out
    assert seen["healthy"]
    assert (seen["totals"]["messages"], seen["totals"]["tasks"], seen["totals"]["exact"]) == (2, 1, True)
    assert without["store"] is None


async def test_status_goes_on_when_the_store_is_away(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = f"sqlite:///{tmp_path}/none.db"
    told = await penstock(capsys, "status", "--sql-url", away, *place(queue))
    seen = (await penstock(capsys, "status", "--json", "--sql-url", away, *place(queue))).json()["store"]

    assert told.code == Code.OK
    assert "Store: not well (answers: no such database" in told.out
    assert (seen["healthy"], seen["totals"]) == (False, None)
