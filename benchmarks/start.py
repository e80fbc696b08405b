"""What there is before the first record: imports, files, a worker's start, and a worker with nothing to do.

python -m benchmarks.start [--imports 21] [--starts 5] [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, TypeAlias

import psutil
from packaging.requirements import Requirement

from benchmarks.measuring import Spent, Watch, median, percentile, queue_server_pid, stored, system, table, worker
from penstock.producer import Producer

MODULES = ("penstock.producer", "penstock.producer.blocking", "penstock.query", "penstock.worker")
ROOTS = ("producer", "stores", "worker")
NAME = "penstock"

Send: TypeAlias = Callable[[dict[str, str]], Coroutine[Any, Any, str]]


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--imports", type=int, default=21, help="fresh processes for each module")
    arguments.add_argument("--starts", type=int, default=5, help="of a worker")
    arguments.add_argument("--seconds", type=float, default=30, help="watched while idle")
    given = arguments.parse_args()
    show_imports(given.imports)
    show_size()
    show_start(given.starts)
    show_idle(given.seconds)


def show_imports(times: int) -> None:
    """How long an import takes in a fresh process, the modules in turn. Compiled before, as installed ones are."""
    found: dict[str, list[float]] = {name: [] for name in MODULES}
    with tempfile.TemporaryDirectory() as bytecode:
        for name in found:
            import_ms(name, bytecode)
        for _ in range(times):
            for name, values in found.items():
                values.append(import_ms(name, bytecode))
    rows = [(f"`{name}`", f"{median(one):.0f}", f"{percentile(one, 0.9):.0f}") for name, one in found.items()]
    table(("import, ms", "median", "p90"), rows)


def import_ms(module: str, bytecode: str) -> float:
    """Milliseconds that the module and all that it imports take, in a process of its own; *bytecode* is a folder."""
    environment = {**os.environ, **compiled(bytecode)}
    program = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout) * 1000


def compiled(bytecode: str) -> dict[str, str]:
    """Settings of a Python that keeps what it compiles in the folder *bytecode*."""
    return {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}


def show_size() -> None:
    """What `pip install penstock` puts on the disk: no extras, with what it needs."""
    rows = []
    for name in (NAME, *sorted(needed_by(NAME))):
        with tempfile.TemporaryDirectory() as folder:
            for at, file in files_of(name):
                (Path(folder) / at).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, Path(folder) / at)
            plain = bytes_in(folder)
            compileall.compile_dir(folder, quiet=2)
            rows.append((name, plain, bytes_in(folder)))
    rows.append(("all", sum(plain for _, plain, _ in rows), sum(whole for _, _, whole in rows)))
    table(
        ("installed, MB", "files as they come", "with bytecode"),
        [(name, f"{plain / 1e6:.2f}", f"{whole / 1e6:.2f}") for name, plain, whole in rows],
    )


def needed_by(name: str, extras: Iterable[str] = ()) -> set[str]:
    """The distributions that *name* with *extras* needs here, and those that they need."""
    found = set()
    for line in distribution(name).requires or ():
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found |= {needed.name, *needed_by(needed.name, needed.extras)}
    return found


def files_of(name: str) -> Iterator[tuple[str, Path]]:
    """Each file of a distribution, with its place among the installed ones. Ours may be installed as a checkout."""
    if name == NAME:
        for root in ROOTS:
            for file in Path(root, NAME).rglob("*"):
                if file.is_file() and file.suffix != ".pyc":
                    yield str(file.relative_to(root)), file
        return
    found: Distribution = distribution(name)
    for entry in found.files or ():
        file = Path(str(found.locate_file(entry)))
        if file.suffix != ".pyc" and ".." not in entry.parts and file.exists():
            yield str(entry), file


def bytes_in(folder: str) -> int:
    """Bytes of all files."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def show_start(times: int) -> None:
    """From the start of the process until a record that waited is stored, compiled before, as an installed one is."""
    rows = []
    with tempfile.TemporaryDirectory() as bytecode:
        for what, send in SENT.items():
            found = [started(send, bytecode) for _ in range(times)]
            took, cpu = [one.wall_s for one in found], [one.cpu_s for one in found]
            rows.append((f"until a {what} that waited is stored", *shown(took), *shown(cpu)))
    table(("start of `penstock worker`, s", "median", "longest", "of a core: median", "longest"), rows)


def shown(found: list[float]) -> tuple[str, str]:
    """Median and longest."""
    return f"{median(found):.2f}", f"{max(found):.2f}"


def started(send: Send, bytecode: str) -> Spent:
    """What a worker takes until what *send* sent before is stored, in stores whose tables are there."""
    with system(**compiled(bytecode)) as (_, environment):
        url = environment["PENSTOCK_REDIS_URL"]
        with worker(environment):
            lane = asyncio.run(send(environment))
            asyncio.run(stored(url, 1, lane))
        asyncio.run(send(environment))
        began = time.perf_counter()
        with worker(environment) as process:
            asyncio.run(stored(url, 2, lane))
            times = psutil.Process(process.pid).cpu_times()
            return Spent(time.perf_counter() - began, times.user + times.system)


async def send_one(environment: dict[str, str]) -> str:
    """One message, queued. Returns its lane."""
    async with Producer.from_env(environment) as producer:
        await producer.message(session_id="s", role="user", content="up").queued()
    return "messages"


async def send_vector(environment: dict[str, str]) -> str:
    """One vector, queued. Returns its lane."""
    async with Producer.from_env(environment) as producer:
        await producer.embedding(collection="c", id="up", vector=[1.0, 0.0]).queued()
    return "embeddings"


SENT = {"message": send_one, "vector": send_vector}


def show_idle(seconds: float) -> None:
    """A worker and its queue server with nothing to do, after one record."""
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as bytecode:
        for what, send in SENT.items():
            rows += idle(what, send, bytecode, seconds)
    table(("idle", "CPU, % of a core", "resident memory, MB"), rows)


def idle(what: str, send: Send, bytecode: str, seconds: float) -> Iterator[tuple[str, str, str]]:
    """A row for each of the two processes."""
    with system(**compiled(bytecode)) as (_, environment), worker(environment) as process:
        url = environment["PENSTOCK_REDIS_URL"]
        asyncio.run(stored(url, 1, asyncio.run(send(environment))))
        time.sleep(2)
        processes = {"worker": process.pid, "queue server": queue_server_pid(url)}
        watches = {name: Watch(pid) for name, pid in processes.items()}
        time.sleep(seconds)
        for name, pid in processes.items():
            spent = watches[name].spent()
            rss = psutil.Process(pid).memory_info().rss
            yield f"{name}, after a {what}", f"{100 * spent.cpu_s / spent.wall_s:.2f}", f"{rss / 1e6:.0f}"


if __name__ == "__main__":
    main()
