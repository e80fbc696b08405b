"""Each fault is there while its block lasts, and gone afterwards."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from penstock.embedded import EmbeddedQueue
from penstock.testing import faults
from penstock.testing.stores_seen import CannotLook, driver_url, sqlite_path
from penstock.testing.system import Process, restartable_port

ECHO = """
import sys
for line in sys.stdin:
    try:
        open(line.strip(), "wb", buffering=0).write(bytes(4096))
        print("written", flush=True)
    except OSError as exc:
        print(type(exc).__name__, exc.errno, flush=True)
"""


@pytest.fixture
def process() -> Iterator[Process]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=pipe, stdout=pipe) as process:
        yield process
        process.kill()


def asked(process: Process, path: Path) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{path}\n".encode())
    process.stdin.flush()
    return process.stdout.readline().decode().strip()


def state(process: Process) -> str:
    """As the kernel tells it: T for one that stands still."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_killed_process_is_gone(process: Process) -> None:
    faults.kill(process)

    assert process.poll() == -signal.SIGKILL


def test_a_terminated_process_tells_how_it_ended(process: Process) -> None:
    assert faults.terminate(process) == -signal.SIGTERM


def test_a_paused_process_stands_still_and_goes_on(process: Process, tmp_path: Path) -> None:
    assert asked(process, tmp_path / "before") == "written"
    with faults.paused(process):
        assert state(process) in "Tt"

    assert asked(process, tmp_path / "after") == "written"


def test_a_process_without_room_for_files_gets_it_back(process: Process, tmp_path: Path) -> None:
    with faults.files_full(process, 1024):
        assert asked(process, tmp_path / "short") == "written"
        assert asked(process, tmp_path / "short" / "none") == "NotADirectoryError 20"
        assert (tmp_path / "short").stat().st_size == 1024

    assert asked(process, tmp_path / "long") == "written"
    assert (tmp_path / "long").stat().st_size == 4096


def test_a_server_that_was_away_has_what_it_had(tmp_path: Path) -> None:
    with EmbeddedQueue(tmp_path, restartable_port(), appendfsync="always") as server:
        with server.client() as client:
            client.set("key", "value")
        with faults.server_away(server), server.client() as client, pytest.raises(RedisConnectionError):
            client.ping()

        with server.client() as client:
            assert client.get("key") == b"value"


def test_a_full_server_refuses_and_takes_again(tmp_path: Path) -> None:
    with EmbeddedQueue(tmp_path) as server, server.client() as client:
        with faults.memory_full(server), pytest.raises(OutOfMemoryError):
            client.set("key", "value")

        assert client.set("key", "value")


def test_arq_forgets_its_own_keys_and_no_others(redis_url: str, queue_server: EmbeddedQueue, namespace: str) -> None:
    with queue_server.client() as client:
        client.set(f"arq:job:{namespace}:drain:logs:1:1", "job")
        client.zadd(f"{namespace}:arq", {"job": 1})
        client.set(f"{namespace}:config", "ours")

        assert faults.forget_arq(redis_url, namespace) == 2
        assert client.exists(f"{namespace}:config")


def test_a_locked_database_lets_nobody_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with closing(sqlite3.connect(tmp_path / "store.db", timeout=0, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (a)")
        with faults.sqlite_locked(url), pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("INSERT INTO t VALUES (1)")

        connection.execute("INSERT INTO t VALUES (1)")


def test_a_folder_that_is_away_comes_back_as_it_was(tmp_path: Path) -> None:
    (folder := tmp_path / "vectors").mkdir()
    (folder / "kept").touch()
    with faults.folder_away(folder), pytest.raises(NotADirectoryError):
        (folder / "new").touch()

    assert [path.name for path in folder.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [folder]


async def test_poison_needs_a_store_that_the_kit_knows() -> None:
    with pytest.raises(CannotLook, match="trigger"):
        await faults.refuse_poison("mysql://host/database")


def test_the_path_of_a_database_is_the_one_that_the_store_opens() -> None:
    assert sqlite_path("sqlite:////var/lib/my%20store.db?synchronous=FULL") == Path("/var/lib/my store.db")


def test_the_driver_is_given_its_own_options_alone() -> None:
    url = "postgresql+asyncpg://u:p@h:1/d?pool_max=8&level=2&sslmode=require&timeout=3"

    assert driver_url(url) == "postgresql://u:p@h:1/d?sslmode=require"
