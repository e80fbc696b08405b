"""`penstock lanes`, and what `penstock status` says of a lane that stands still."""

from __future__ import annotations

import re
import time

import pytest

from penstock.cli.exits import Code
from penstock.wire.pauses import BREAKER, Halt, Outage, Pauses
from penstock.wire.queue import Queue
from tests.system.command import Ran, penstock

LOCKED = "database is locked (SQLITE_BUSY)"


def ago(seconds: float) -> int:
    return round((time.time() - seconds) * 1000)


async def on(queue: Queue, capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    place = ("--redis-url", queue.scripts.url, "--namespace", queue.keys.namespace)
    return await penstock(capsys, *arguments, *place)


async def outage(queue: Queue, worker: str, lane: str = "messages") -> None:
    await queue.heartbeat(worker, 60_000)
    await Pauses(queue).tell(Outage(lane, worker, "0.1.0", ago(12), ago(-30), LOCKED), 60_000)


async def test_a_lane_that_nobody_stopped_is_open(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await on(queue, capsys, "lanes", "--json")

    nothing: dict[str, object] = {"state": "open", "halt": None, "outages": [], "bury": 0}
    assert ran.code == Code.OK
    assert ran.json() == {"lanes": dict.fromkeys(("messages", "logs", "state", "embeddings"), nothing)}


async def test_an_outage_is_told_with_its_reason_and_where(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await outage(queue, "host:1")
    await queue.heartbeat("host:2", 60_000)

    listed = await on(queue, capsys, "lanes")
    told = await on(queue, capsys, "status")
    seen = (await on(queue, capsys, "status", "--json")).json()["lanes"]["messages"]

    assert "host:1 (0.1.0)" in listed.out
    assert f"the store is away: {LOCKED} (next probe in " in listed.out
    assert re.search(r"messages: paused at 1 of 2 workers [0-9.]+ s, the store is away", told.out)
    assert seen["state"] == "paused"
    assert [(each["worker"], each["reason"]) for each in seen["outages"]] == [("host:1", LOCKED)]


async def test_an_outage_of_a_worker_that_has_died_is_not_told(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    await outage(queue, "host:1")
    await queue.heartbeat("host:1", 0)

    assert "paused" not in (await on(queue, capsys, "status")).out


async def test_one_outage_of_all_workers_is_told_once(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await outage(queue, "host:1")
    await outage(queue, "host:2")

    told = (await on(queue, capsys, "status")).out

    assert told.count(LOCKED) == 1
    assert "messages: paused 12." in told


async def test_what_the_breaker_halted_is_told_until_it_is_resumed(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    await Pauses(queue).halt(Halt("logs", BREAKER, "CHECK failed: level", ago(90), "host:1", "0.1.0", 250, 250), 0)

    listed = await on(queue, capsys, "lanes")
    told = await on(queue, capsys, "status")
    resumed = await on(queue, capsys, "lanes", "resume", "logs", "--bury", "40")
    after = await on(queue, capsys, "lanes")
    again = await on(queue, capsys, "lanes", "resume", "logs")

    assert "by the breaker: 250 records in a row were refused, the first: CHECK failed: level" in listed.out
    assert "host:1" in listed.out
    assert "logs: halted 1 min 30 s" in told.out
    assert "penstock lanes resume logs" in told.out
    assert resumed.code == Code.OK
    assert "halted" not in after.out
    assert "40 refused records may yet be buried" in after.err
    assert (again.code, "logs is not halted" in again.err) == (Code.NOT_FOUND, True)


async def test_a_lane_is_halted_by_hand_once(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    first = await on(queue, capsys, "lanes", "pause", "state", "--reason", "moving the database")
    second = await on(queue, capsys, "lanes", "pause", "state", "--reason", "another")
    seen = (await on(queue, capsys, "lanes", "--json")).json()["lanes"]["state"]
    resumed = await on(queue, capsys, "lanes", "resume", "state", "--json")

    assert (first.code, second.code) == (Code.OK, Code.NO)
    assert "halted already, by hand: moving the database" in second.err
    assert (seen["state"], seen["halt"]["by"], seen["halt"]["reason"]) == ("halted", "hand", "moving the database")
    assert resumed.json() == {"lane": "state", "resumed": True, "bury": 0}


async def test_a_lane_is_not_halted_without_a_reason(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    said = await on(queue, capsys, "lanes", "pause", "state", "--reason", " ")

    assert (said.code, said.err) == (Code.USAGE, "error: --reason is empty; say why, for those who look at the lane\n")
    assert (await Pauses(queue).standings())["state"].halt is None


async def test_a_halt_whose_reason_is_older_than_a_resumption_is_refused(queue: Queue) -> None:
    pauses, halt = Pauses(queue), Halt("logs", BREAKER, "bad", ago(1))
    assert await pauses.halt(halt, 0)
    await pauses.resume("logs")

    assert not await pauses.halt(halt, 0)
    assert (await pauses.standings())["logs"].halt is None
    assert await pauses.halt(halt, 1)


@pytest.mark.parametrize("command", [("resume", "mail"), ("pause", "mail", "--reason", "x")])
async def test_a_lane_that_is_none_is_named_with_those_that_are(
    queue: Queue, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    ran = await on(queue, capsys, "lanes", *command)

    assert ran.code == Code.USAGE
    assert "no lane is called 'mail'; known are messages, logs" in ran.err


async def test_options_before_the_command_are_not_ignored_in_silence(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await penstock(capsys, "lanes", "--namespace", queue.keys.namespace, "resume", "logs")

    assert ran.code == Code.USAGE
    assert "options of resume stand behind it" in ran.err
