"""Random faults, and a verdict: `python -m penstock.testing.chaos --seconds 60 --seed 7`.

Producers and workers run under faults that the seed has drawn. Then everything is healed, what was accepted is drained,
and the checker judges. The exit code is 0 when it found nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.producer.spool_folder import SpoolFolder
from penstock.testing import faults
from penstock.testing.crew import Crew
from penstock.testing.proxy import Proxy
from penstock.testing.schedule import draw
from penstock.testing.stores_seen import sql_rows
from penstock.testing.strikes import Strikes
from penstock.testing.system import Process, System
from penstock.testing.verdict import Verdict
from penstock.wire.errors import PenstockError
from penstock.wire.queue import Queue
from penstock.wire.tasks import end_task

_SETTLE_S = 60
"""A producer closes in less, and no backlog stands still for so long."""

_BEGIN_S = 240
"""A worker begins in less: one that had to share two cores with 18 others took 56 s to import its drivers."""

_TELL_S = 3
_LOOK_S = 0.05

_NOTED = re.compile(
    r"""
    "event":\ "((?:drain|task|upkeep)\ failed)"              # what a worker logs, in JSON
    | ^Traceback.*\n(?:[ \t].*\n|\n)*([\w.]+)(?::|$)  # what ended a process: the last line of its traceback
    """,
    re.MULTILINE | re.VERBOSE,
)


class NotDrained(PenstockError):
    """Something is pending still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosSettings:
    """What a run is."""

    seconds: float = 60
    seed: int = 7
    workers: int = 2
    agents: int = 2
    rate: float = 300
    """Calls of each agent a second."""
    poison: float = 0.001
    """Share of messages that the store refuses."""
    sql_url: str | None = None
    """An empty database; None for a SQLite file of the run's own."""
    vector_url: str | None = None

    @property
    def with_spool(self) -> bool:
        """Whether producers have a spool on disk."""
        return bool(self.seed & 1)

    @property
    def fsync(self) -> bool:
        """Whether producers wait for the queue server's disk, and it syncs each second. Else it syncs every write."""
        return bool(self.seed & 2)


class Chaos:
    """One run, in one folder."""

    def __init__(self, system: System, settings: ChaosSettings) -> None:
        self._system = system
        self._settings = settings
        self._began = time.monotonic()
        self._seeds = itertools.count(settings.seed * 1000)
        self._spool = system.folder / "spool"
        system.settings |= _environment(settings, self._spool)

    async def run(self) -> Verdict:
        """From an empty store to the verdict.

        Raises:
            NotDrained: A producer did not end within a minute after the healing, or what was accepted, or what killed
                producers have left, stood still for one.
            TimeoutError: A worker did not start.
        """
        system, settings = self._system, self._settings
        system.run("migrate")
        if any((await sql_rows(system.sql_url))["messages"]):
            raise ValueError("the store is not empty; give the run a database or schema of its own")
        await faults.refuse_poison(system.sql_url)
        with Proxy(system.server.url) as to_workers, Proxy(system.server.url) as to_agents:
            self._lines = (to_workers, to_agents)
            workers = Crew("worker", settings.workers, self._start_worker, self.tell)
            agents = Crew("producer", settings.agents, self._start_agent, self.tell)
            strikes = Strikes(system, workers, agents, to_workers, to_agents, self.tell)
            workers.fill()
            await system.workers_alive(settings.workers, _BEGIN_S)
            agents.fill()
            self.tell(f"{settings.workers} workers and {settings.agents} producers run")
            keeping = asyncio.create_task(workers.keep_up())
            try:
                await self._strike(strikes, agents)
                await self._settle(agents.alive)
            finally:
                await end_task(keeping)
            system.stop()
        return await system.check()

    async def _strike(self, strikes: Strikes, agents: Crew) -> None:
        keeping = asyncio.create_task(agents.keep_up())
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                for plan in draw(self._settings.seed, self._settings.seconds, list(strikes.known)):
                    await asyncio.sleep(began + plan.at_s - asyncio.get_running_loop().time())
                    group.create_task(strikes.strike(plan))
        finally:
            await end_task(keeping)

    async def _settle(self, agents: Sequence[Process]) -> None:
        self.tell("healed; producers end")
        for agent in agents:
            agent.send_signal(signal.SIGTERM)
        for agent in agents:
            try:
                await asyncio.to_thread(agent.wait, _SETTLE_S)
            except subprocess.TimeoutExpired:
                raise NotDrained(f"producer {agent.pid} DID NOT END within {_SETTLE_S} s of SIGTERM") from None
        if self._settings.with_spool:
            self.tell("what killed producers have left is sent")
            async with self._system.producer():
                await self._gone(self._spooled, "the spools were NOT SENT: what they hold did not get less")
        self.tell("waiting for the workers")
        telling = asyncio.create_task(self._tell_what_waits())
        try:
            await self._gone(self._pending, "NOT DRAINED: what is pending did not get less")
        finally:
            await end_task(telling)
        counts = await self._system.counts()
        self.tell(f"drained: {counts.accepted:,} accepted, {counts.stored:,} stored, {counts.dead:,} dead")

    async def _gone(self, left: Callable[[], Awaitable[int]], what: str) -> None:
        """Wait until nothing is *left*. A machine may be slow; what stands still is stuck."""
        least, now = math.inf, asyncio.get_running_loop().time
        since = now()
        while count := await left():
            if count < least:
                least, since = count, now()
            elif now() - since > _SETTLE_S:
                raise NotDrained(f"{what} for {_SETTLE_S} s after everything was healed")
            await asyncio.sleep(_LOOK_S)

    async def _pending(self) -> int:
        return (await self._system.counts()).pending

    async def _spooled(self) -> int:
        waiting = SpoolFolder(self._spool, self._system.namespace).spooled().records
        return waiting + len(list(self._spool.glob("*.spool")))

    async def _tell_what_waits(self) -> None:
        while True:
            await asyncio.sleep(_TELL_S)
            async with Queue(self._system.server.url, self._system.namespace) as queue:
                counts = await queue.counts()
            waiting = [f"{where} {each.pending}" for where, each in counts.items() if each.pending]
            self.tell(f"  still to be stored: {', '.join(waiting)}")

    def tell(self, line: str) -> None:
        """Print *line* with its second."""
        print(f"{time.monotonic() - self._began:6.1f} s  {line}", flush=True)

    def _start_worker(self, **options: Any) -> Process:
        return self._system.start_worker(redis_url=self._lines[0].url, **options)

    def _start_agent(self, **options: Any) -> Process:
        settings = self._settings
        return self._system.start_agent(
            seed=next(self._seeds),
            seconds=settings.seconds + _SETTLE_S,
            rate=settings.rate,
            poison=settings.poison,
            redis_url=self._lines[1].url,
            **options,
        )


def _environment(settings: ChaosSettings, spool: Path) -> dict[str, str]:
    """Short waits: a run has seconds where a system has minutes."""
    chosen = {
        "PENSTOCK_SQL_URL": settings.sql_url,
        "PENSTOCK_VECTOR_URL": settings.vector_url,
        "PENSTOCK_SPOOL_DIR": str(spool) if settings.with_spool else None,
        "PENSTOCK_DURABILITY": "fsync" if settings.fsync else None,
    }
    return {
        "PENSTOCK_LEASE_MS": "2000",
        "PENSTOCK_BACKOFF_CAP_MS": "1000",
        "PENSTOCK_STREAM_TIMEOUT_MS": "3000",
        "PENSTOCK_CLOSE_TIMEOUT_S": "20",
        **{name: value for name, value in chosen.items() if value},
    }


def noted(folder: Path) -> Counter[str]:
    """What the processes' logs tell of errors that nobody foresaw."""
    found: Counter[str] = Counter()
    for path in folder.glob("*.log"):
        name = path.stem.partition("-")[0]
        found.update(f"{name}: {event or error}" for event, error in _NOTED.findall(path.read_text(errors="replace")))
    return found


def run(folder: Path, settings: ChaosSettings) -> Verdict:
    """One run in *folder*, which keeps logs, ledgers and stores."""
    with System.alone(folder, appendfsync="everysec" if settings.fsync else "always") as system:
        return asyncio.run(Chaos(system, settings).run())


def main(arguments: Sequence[str]) -> int:
    """Run, print the verdict; 0 when it is sound."""
    settings, folder, keeps = _parsed(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: take all that was started along
    print(f"chaos: seed {settings.seed}, {settings.seconds:g} s, in {folder}")
    print(f"{'with' if settings.with_spool else 'without'} a spool; the queue server syncs {_syncs(settings)}")
    try:
        verdict = run(folder, settings)
    except NotDrained as exc:
        print(f"{exc}; look at {folder}")
        return 1
    except subprocess.CalledProcessError as exc:  # a store of theirs that is away, or is none
        print(exc.stderr.decode(errors="replace").strip(), file=sys.stderr)
        return 2
    for line, count in sorted(noted(folder).items()):
        print(f"noted in logs: {line}, {count} times")
    print(verdict)
    if verdict.sound and not keeps:
        shutil.rmtree(folder)
    else:
        print(f"logs, ledgers and stores are in {folder}")
    return 0 if verdict.sound else 1


def _syncs(settings: ChaosSettings) -> str:
    return "each second, for which producers wait" if settings.fsync else "every write"


def _parsed(arguments: Sequence[str]) -> tuple[ChaosSettings, Path, bool]:
    parser = argparse.ArgumentParser(prog="python -m penstock.testing.chaos", description=__doc__)
    defaults = ChaosSettings()
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="draws the faults and the records")
    parser.add_argument("--workers", type=int, default=defaults.workers)
    parser.add_argument("--agents", type=int, default=defaults.agents, help="producer processes")
    parser.add_argument("--rate", type=float, default=defaults.rate, help="calls of each producer a second")
    parser.add_argument("--poison", type=float, default=defaults.poison, help="share of messages that are refused")
    parser.add_argument("--sql-url", help="an empty database of your own instead of a SQLite file")
    parser.add_argument("--vector-url", help="an empty vector store of your own")
    parser.add_argument("--folder", type=Path, help="where logs, ledgers and stores go, and stay")
    given = vars(parser.parse_args(arguments))
    for name in ("seconds", "workers", "agents"):
        if given[name] <= 0:
            parser.error(f"--{name} is {given[name]:g}; more than 0 is needed")
    asked: Path | None = given.pop("folder")
    folder = asked or Path(tempfile.mkdtemp(prefix="penstock-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    return ChaosSettings(**given), folder, asked is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
