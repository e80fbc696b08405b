"""`penstock up`: one command that runs everything, keeps it, and leaves nothing running."""

from __future__ import annotations

import asyncio
import shlex
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.cli.exits import Code, Stop
from penstock.cli.processes import WorkerProcess
from penstock.cli.up import watch
from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import Producer
from penstock.wire.queue import Queue
from tests.system.command import COMMAND, penstock, process


async def started(folder: Path, port: int) -> tuple[Process, dict[str, str]]:
    """The command, running, and the settings that it printed."""
    arguments = ("up", "--data-dir", str(folder), "--port", str(port))
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    exported = [shlex.split(line)[1].partition("=") for line in lines]
    return process, {name: value for name, _, value in exported}


@asynccontextmanager
async def up(folder: Path, port: int) -> AsyncIterator[tuple[Process, dict[str, str]]]:
    """The command, running, with its settings. SIGTERM at the end, which must end it well."""
    process, settings = await started(folder, port)
    try:
        yield process, settings
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == Code.OK


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_where_up_is_killed_its_worker_hands_over_and_its_server_ends(tmp_path: Path) -> None:
    process, settings = await started(tmp_path, port := free_port())
    async with Queue(settings["PENSTOCK_REDIS_URL"]) as queue:
        assert await queue.workers()
    process.kill()
    _, told = await process.communicate()  # returns when the worker has ended: it writes there as well

    assert b"worker stopped" in told
    async with asyncio.timeout(10):
        while answers(port):
            await asyncio.sleep(0.05)


async def test_up_runs_everything_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    for turn in (1, 2):
        async with up(tmp_path, port) as (_, settings):
            async with Producer(settings["PENSTOCK_REDIS_URL"]) as producer:
                await producer.message(session_id="s", role="user", content=f"turn {turn}").stored(timeout=30)
            read = await penstock(capsys, "query", "messages", "--json", "--sql-url", settings["PENSTOCK_SQL_URL"])
            audit = await penstock(capsys, "audit", "--json", "--redis-url", settings["PENSTOCK_REDIS_URL"])

        assert [line["content"] for line in read.lines()] == [f"turn {n}" for n in range(1, turn + 1)]
        assert audit.json()["lanes"]["messages"]["stored"] == turn
        assert not answers(port)


@pytest.mark.parametrize("wrong", ["sql", "vectors", "port"])
async def test_a_start_that_is_refused_leaves_no_folder(
    wrong: str, tmp_path: Path, queue_server: EmbeddedQueue
) -> None:
    port = queue_server.port if wrong == "port" else free_port()
    urls = {"sql": ("--sql-url", "mysql://db"), "vectors": ("--vector-url", "faiss://here"), "port": ()}[wrong]

    ran = await process("up", "--data-dir", str(tmp_path / "data"), "--port", str(port), *urls)

    assert ran.code == Code.SETUP
    assert not (tmp_path / "data").exists()


class Worker(WorkerProcess):
    """A worker that has ended, at a certain age."""

    def __init__(self, age_s: float, code: int = -9) -> None:
        super().__init__({})
        self.starts = 0
        self._age_s = age_s
        self._code = code

    def ended(self) -> int | None:
        return self._code

    def age_s(self) -> float:
        return self._age_s

    def start(self) -> None:
        self.starts += 1
        self._age_s = 0


@pytest.mark.parametrize(("age_s", "code", "starts"), [(3600, 3, 1), (0.5, 3, 0), (3600, -9, 5), (0.5, -9, 4)])
def test_a_worker_that_ends_is_started_again_unless_it_ends_as_soon_each_time(
    age_s: float, code: int, starts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.cli.up._WATCH_S", 0)
    worker = Worker(age_s, code)

    with EmbeddedQueue(tmp_path) as server, pytest.raises(Stop, match=f"code {code}"):
        watch(server, worker)

    assert worker.starts == starts


def test_a_queue_server_that_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.cli.up._WATCH_S", 0)
    server = EmbeddedQueue(tmp_path).start()
    server.kill()

    with pytest.raises(Stop, match=r"the queue server has ended; see .*valkey\.log"):
        watch(server, Worker(0))
