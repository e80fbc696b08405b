"""`penstock bench`: it measures with the user's settings and servers, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE
from pathlib import Path
from urllib.parse import quote

import pytest

from penstock.cli.exits import Code
from penstock.embedded import EmbeddedQueue, free_port
from tests.conformance.postgres_server import Postgres
from tests.system.command import COMMAND, process

SHORT = ("bench", "--records", "1000", "--rounds", "1")


def schemas(postgres: Postgres) -> set[str]:
    return {row[0] for row in postgres.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'penstock_bench%'")}


def keys(server: EmbeddedQueue) -> set[bytes]:
    with server.client() as client:
        return set(client.scan_iter(match="*bench-*"))


async def test_the_figures_of_an_embedded_run_stand_in_a_table(tmp_path: Path) -> None:
    mine = tmp_path / "mine.db"
    mine.write_bytes(b"not yours")
    (tmp_path / "tmp").mkdir()
    env = {
        "TMPDIR": str(tmp_path / "tmp"),
        "PENSTOCK_SPOOL_DIR": str(tmp_path / "spool"),
        "PENSTOCK_STRATEGY": "minimal",
    }

    ran = await process(*SHORT, "--embedded", "--store", f"sqlite:///{quote(str(mine))}", env=env)

    assert ran.code == Code.OK, ran.err
    assert f"store a SQLite file in {tmp_path}" in ran.err
    for figure in ("message(), median", "into the queue", "XADD of ready frames", "the driver alone", "idle, p99"):
        assert figure in ran.out
    assert mine.read_bytes() == b"not yours"
    assert {path.name for path in tmp_path.iterdir()} == {"mine.db", "tmp"}
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_run_on_servers_of_ones_own_tells_machines_and_takes_everything_away(
    queue_server: EmbeddedQueue, postgres: Postgres, tmp_path: Path
) -> None:
    env = {"TMPDIR": str(tmp_path), "PENSTOCK_REDIS_URL": queue_server.url, "PENSTOCK_PARTITIONS": "2"}

    ran = await process(*SHORT, "--json", "--store", postgres.url("public"), env=env)

    assert ran.code == Code.OK, ran.err
    told = ran.json()
    assert min(told[name] for name in ("call_us", "into", "into_limit", "drained", "drained_limit", "stored_ms")) > 0
    assert told["drained_ratio"] == pytest.approx(told["drained"] / told["drained_limit"])
    assert (told["records"], told["rounds"], isinstance(told["levers"], list)) == (1000, 1, True)
    assert keys(queue_server) == set()
    assert schemas(postgres) == set()
    assert list(tmp_path.iterdir()) == []


async def test_an_interrupted_run_leaves_nothing_behind(
    queue_server: EmbeddedQueue, postgres: Postgres, tmp_path: Path
) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "PENSTOCK_REDIS_URL": queue_server.url}
    command = (*COMMAND, "bench", "--rounds", "100", "--store", postgres.url("public"))
    bench = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=env)
    while not (keys(queue_server) and schemas(postgres)):
        assert bench.returncode is None
        await asyncio.sleep(0.02)

    bench.send_signal(signal.SIGINT)
    _, err = await bench.communicate()

    assert bench.returncode == Code.INTERRUPTED
    assert b"Traceback" not in err
    assert keys(queue_server) == set()
    assert schemas(postgres) == set()
    assert list(tmp_path.iterdir()) == []


async def test_a_queue_server_that_is_named_and_away_is_an_error() -> None:
    ran = await process(*SHORT, "--redis-url", f"redis://127.0.0.1:{free_port()}/0")

    assert (ran.code, ran.out) == (Code.AWAY, "")
    assert "is it running?" in ran.err


async def test_a_store_without_a_driver_to_compare_with_is_refused() -> None:
    ran = await process(*SHORT, "--embedded", "--store", "memory://")

    assert (ran.code, ran.out) == (Code.USAGE, "")
    assert "sqlite:// and postgresql:// can be" in ran.err
