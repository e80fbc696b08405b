"""`penstock cache`, and what `penstock status` says of the answers that readers keep."""

from __future__ import annotations

import pytest

from penstock.cli.exits import Code
from penstock.wire.caching import AnswerCache, Subject
from penstock.wire.queue import Queue
from tests.system.command import Ran, penstock


async def on(queue: Queue, capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    return await penstock(capsys, *arguments, "--redis-url", queue.scripts.url, "--namespace", queue.keys.namespace)


async def test_a_cache_that_nobody_uses_is_not_spoken_of(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await on(queue, capsys, "status")

    assert "cache" not in ran.out
    assert (await on(queue, capsys, "status", "--json")).json()["cache"] is None


async def test_status_tells_how_often_the_cache_has_answered(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await AnswerCache(queue.scripts, queue.keys).announce(hits=930, misses=70)

    told = await on(queue, capsys, "status")
    seen = (await on(queue, capsys, "status", "--json")).json()["cache"]

    assert "The cache has answered 93% of 1,000 questions." in told.out
    assert seen == {"hits": 930, "misses": 70, "hit_rate": 0.93}


async def test_answers_are_forgotten_by_pattern(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    answers = AnswerCache(queue.scripts, queue.keys)
    for subject in (Subject("task", "t-1"), Subject("task", "t-2"), Subject("tasks")):
        await answers.look(subject, "question")

    some = await on(queue, capsys, "cache", "clear", "task:*1")
    rest = await on(queue, capsys, "cache", "clear")

    assert (some.code, some.err) == (Code.OK, "Answers about 1 subject are forgotten.\n")
    assert rest.err == "Answers about 2 subjects are forgotten.\n"
    assert (await answers.look(Subject("task", "t-1"), "question")).is_ours_to_ask
