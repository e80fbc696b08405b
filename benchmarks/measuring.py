"""What every benchmark needs: a queue server in a temporary folder, medians, and the machine's name."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from penstock.embedded import EmbeddedQueue

CONTENT = "The reservoir lets out at the rate the turbines can take. " * 5  # 290 characters


@contextlib.contextmanager
def system() -> Iterator[tuple[Path, dict[str, str]]]:
    """A fresh folder with a queue server, and the environment that points at both."""
    with tempfile.TemporaryDirectory() as name, EmbeddedQueue(Path(name) / "queue") as server:
        folder = Path(name)
        yield (
            folder,
            {
                **os.environ,
                "PENSTOCK_REDIS_URL": server.url,
                "PENSTOCK_SQL_URL": f"sqlite:///{folder}/penstock.db",
                "PENSTOCK_VECTOR_URL": f"lancedb:///{folder}/vectors",
            },
        )


@contextlib.contextmanager
def worker(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
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


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of *values* lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def machine() -> str:
    """One line: cores, processor, Python."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}, {platform.system()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
