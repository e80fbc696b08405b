"""Things that go wrong, each by its name.

A plain function strikes once. A context manager holds its fault until its block is left. Those of the network are a
`Proxy`'s; a worker that dies or pauses at a step is started so (`System.start_worker`), and so is a wrong clock.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from redis import Redis

from penstock.embedded import EmbeddedQueue
from penstock.testing.stores_seen import CannotLook, driver_url, sqlite_path, statements
from penstock.testing.system import Process

_LOCK_WAIT_S = 30
_END_WAIT_S = 30


# -- processes ----------------------------------------------------------------------------------


def kill(process: Process) -> None:
    """SIGKILL: not a step further. Returns when it is gone."""
    process.kill()
    process.wait()


def terminate(process: Process) -> int:
    """SIGTERM, and wait for the end; returns the exit code.

    Raises:
        subprocess.TimeoutExpired: It goes on for another 30 seconds.
    """
    process.terminate()
    return process.wait(_END_WAIT_S)


@contextlib.contextmanager
def paused(process: Process) -> Iterator[None]:
    """The process stands still, all its threads, and does not know; woken afterwards."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


# -- the queue server ---------------------------------------------------------------------------


@contextlib.contextmanager
def server_away(server: EmbeddedQueue) -> Iterator[None]:
    """The queue server is killed, and started again on its files and its port."""
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def memory_full(server: EmbeddedQueue) -> Iterator[None]:
    """The queue server refuses whatever needs memory."""
    with server.client() as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            client.config_set("maxmemory", before)


def forget_arq(url: str, namespace: str) -> int:
    """Delete all that arq keeps for a namespace, and the producers' bell; returns how many keys that were."""
    with Redis.from_url(url) as client:
        keys = [f"{namespace}:bell", f"{namespace}:arq", *client.scan_iter(f"arq:*{namespace}*", count=1000)]
        return int(client.delete(*keys))


# -- stores -------------------------------------------------------------------------------------


@contextlib.contextmanager
def sqlite_locked(url: str, mode: str = "IMMEDIATE", wait_s: float = _LOCK_WAIT_S) -> Iterator[None]:
    """A stranger holds the file's write lock.

    Raises:
        sqlite3.OperationalError: Somebody else has it, and did not give it back in *wait_s*.
    """
    with contextlib.closing(sqlite3.connect(sqlite_path(url), isolation_level=None, timeout=wait_s)) as stranger:
        stranger.execute(f"BEGIN {mode}")
        yield


async def end_sessions(url: str) -> None:
    """PostgreSQL ends every session of the database but the one that asks."""
    await _postgres(url, "other_sessions")


async def refuse_poison(url: str) -> None:
    """Have the store refuse every message whose content begins with `poison`, for good. Its tables must be there.

    Raises:
        CannotLook: Neither SQLite nor PostgreSQL.
    """
    await _execute(url, "refuse_poison")


async def accept_poison(url: str) -> None:
    """Take back `refuse_poison`."""
    await _execute(url, "accept_poison")


async def _execute(url: str, statement: str) -> None:
    if url.startswith("sqlite:"):
        with contextlib.closing(sqlite3.connect(sqlite_path(url), timeout=_LOCK_WAIT_S)) as connection:
            connection.executescript(statements("faults_sqlite")[statement])
    elif url.startswith("postgres"):
        await _postgres(url, statement)
    else:
        raise CannotLook("poison needs a trigger in SQLite or PostgreSQL; have your store refuse it in its own way")


async def _postgres(url: str, statement: str) -> None:
    import asyncpg  # noqa: PLC0415 - an extra

    connection = await asyncpg.connect(driver_url(url), statement_cache_size=0)
    try:
        await connection.execute(statements("faults_postgres")[statement])
    finally:
        await connection.close()


# -- files --------------------------------------------------------------------------------------


@contextlib.contextmanager
def folder_away(folder: Path) -> Iterator[None]:
    """Nothing can be opened below *folder*, by root neither: a file lies in its place. What is open stays so."""
    aside = folder.with_name(f"{folder.name}.away")
    folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


@contextlib.contextmanager
def files_full(process: Process, size: int = 1024 * 1024) -> Iterator[None]:
    """The process can make no file larger than *size* bytes. On Linux, and without any privilege.

    It is told that the file is too large (EFBIG), where a full disk says that it is full (ENOSPC).
    """
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
