"""`penstock demo`: it shows the whole way, adds up, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE
from pathlib import Path

from penstock.cli.demo_agents import toy_vector
from penstock.cli.demo_figures import percentile
from penstock.cli.exits import Code
from tests.system.command import COMMAND, process


async def test_the_demo_ends_well_with_its_figures(tmp_path: Path) -> None:
    ran = await process("demo", "--seconds", "1", "--agents", "3", env={"TMPDIR": str(tmp_path)})

    assert ran.code == Code.OK, ran.err
    assert ran.err == ""
    for figure in ("records  ", "records/s", "call to stored   p50", "p99"):
        assert figure in ran.out
    assert "It adds up" in ran.out
    assert "read back" in ran.out
    assert "Questions nearest to" in ran.out
    assert list(tmp_path.iterdir()) == []


async def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = await asyncio.create_subprocess_exec(*COMMAND, "demo", "--seconds", "60", stdout=PIPE, stderr=PIPE, env=env)
    assert demo.stdout is not None
    while b"accepted" not in await demo.stdout.readline():
        pass

    demo.send_signal(signal.SIGINT)
    _, err = await demo.communicate()

    assert demo.returncode == Code.INTERRUPTED
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_toy_vector_is_nearest_to_texts_with_the_same_words() -> None:
    def nearness(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(toy_vector(one), toy_vector(other), strict=True))

    question = "the flight to Porto was cancelled"
    assert nearness(question, "my flight was cancelled") > nearness(question, "charged twice for an invoice")
    assert abs(nearness(question, question) - 1) < 1e-9


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1], 0.99) == 1
    assert percentile(range(1000), 0.99) == 990
