"""Things that go wrong, each by its name.

A plain function strikes once. A context manager holds its fault until its block is left. Those of the network are a
`Proxy`'s; a worker that dies or pauses at a step is started so (`System.start_worker`), and so is a wrong clock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from redis import Redis

from penstock.embedded import EmbeddedQueue
from penstock.testing.stores_seen import CannotLook, driver_url, sqlite_path, statements
from penstock.testing.system import Process

_LOCK_WAIT_S = 30
_END_WAIT_S = 30
_LARGEST_DISK = 256 * 1024 * 1024
_BLOCK = 64 * 1024


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
def sqlite_locked(url: str, mode: str = "IMMEDIATE") -> Iterator[None]:
    """A stranger holds the file's write lock."""
    with contextlib.closing(sqlite3.connect(sqlite_path(url), isolation_level=None, timeout=_LOCK_WAIT_S)) as stranger:
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
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own on *folder*, which is empty, for `disk_full`. Root may do that, on Linux.

    Raises:
        subprocess.CalledProcessError: It was not allowed.
    """
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True, capture_output=True)  # noqa: S607
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)  # noqa: S607


@contextlib.contextmanager
def disk_full(folder: Path) -> Iterator[None]:
    """The file system of *folder* has no byte left.

    Raises:
        ValueError: It is larger than 256 MB, which nobody means to fill: `small_disk` makes one to fill.
    """
    sizes = os.statvfs(folder)
    if sizes.f_blocks * sizes.f_frsize > _LARGEST_DISK:
        raise ValueError(
            f"{folder} lies on {sizes.f_blocks * sizes.f_frsize:,} bytes; at most {_LARGEST_DISK:,} are filled"
        )
    filler = folder / "filler"
    try:
        _fill(filler)
        yield
    finally:
        filler.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        size = _BLOCK
        while size:
            try:
                file.write(bytes(size))
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
                size //= 2
