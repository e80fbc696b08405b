"""Every fault of a chaos run, by its name."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.testing import faults
from penstock.testing.crew import Crew
from penstock.testing.proxy import Proxy
from penstock.testing.schedule import Planned
from penstock.testing.system import System
from penstock.worker.steps import Step

_PAST_THE_LEASE_S = 1.0
_LOOK_S = 0.02
_HOUR_BACK = "-3600"

Strike = Callable[[Planned], Awaitable[None]]


@dataclass
class Strikes:
    """What can be struck, and how."""

    system: System
    workers: Crew
    agents: Crew
    to_workers: Proxy
    """Between workers and queue server."""
    to_agents: Proxy
    tell: Callable[[str], None]
    _busy: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def known(self) -> dict[str, Strike]:
        """What suits the system's stores, by name."""
        common: dict[str, Strike] = {
            "worker killed": self._worker_killed,
            "worker killed at a step": self._worker_killed_at_a_step,
            "worker paused past its lease": self._worker_paused,
            "worker paused at a step": self._worker_paused_at_a_step,
            "worker terminated": self._worker_terminated,
            "worker with a wrong clock": self._worker_with_a_wrong_clock,
            "producer killed": self._agent_killed,
            "producer with a wrong clock": self._agent_with_a_wrong_clock,
            "no room for a worker's files": self._files_full,
            "queue server killed": self._server_killed,
            "queue server full": self._server_full,
            "arq's keys deleted": self._arq_forgotten,
            "connections cut": self._cut,
            "connections refused": lambda plan: self._on_the_line(plan, Proxy.refusing),
            "answers delayed": lambda plan: self._on_the_line(plan, lambda line: line.delayed(plan.lasts_s / 4)),
            "answers lost": lambda plan: self._on_the_line(plan, Proxy.deaf),
            "everything lost": lambda plan: self._on_the_line(plan, Proxy.black_hole),
        }
        if self.system.sql_url.startswith("sqlite:"):
            common["SQLite locked by a stranger"] = self._sqlite_locked
        if self.system.sql_url.startswith("postgres"):
            common["PostgreSQL's sessions ended"] = self._sessions_ended
        if self.system.vector_url.startswith("lancedb:"):
            common["vectors' folder away"] = self._vectors_away
        return common

    async def strike(self, plan: Planned) -> None:
        """Strike as planned, and return when it is over. The same fault is never there twice at a time."""
        async with self._busy[plan.fault]:
            await self.known[plan.fault](plan)

    # -- processes ------------------------------------------------------------------------------

    async def _worker_killed(self, plan: Planned) -> None:
        process = self.workers.pick(plan.chance)
        self.tell(f"worker {process.pid} killed")
        faults.kill(process)

    async def _worker_killed_at_a_step(self, plan: Planned) -> None:
        step = self._step(plan)
        self.workers.ask(die_at=[step])
        self.tell(f"a worker will be killed at {step}")
        self.workers.pick(plan.chance).terminate()

    async def _worker_paused_at_a_step(self, plan: Planned) -> None:
        step, times = self._step(plan).split(":")
        appointment = f"{step}:{plan.lasts_s}:{times}"
        self.workers.ask(pause_at=[appointment])
        self.tell(f"a worker will stand still for {plan.lasts_s:.1f} s at {step}")
        faults.kill(self.workers.pick(plan.chance))

    async def _worker_paused(self, plan: Planned) -> None:
        process = self.workers.pick(plan.chance)
        self.tell(f"worker {process.pid} stands still for {plan.lasts_s + _PAST_THE_LEASE_S:.1f} s")
        with faults.paused(process):
            await asyncio.sleep(plan.lasts_s + _PAST_THE_LEASE_S)

    async def _worker_terminated(self, plan: Planned) -> None:
        process = self.workers.pick(plan.chance)
        self.tell(f"worker {process.pid} terminated")
        process.terminate()

    async def _worker_with_a_wrong_clock(self, plan: Planned) -> None:
        self.workers.ask(clock=_HOUR_BACK if plan.chance % 2 else f"{_HOUR_BACK}:{plan.lasts_s}")
        self.tell("a worker's clock is set back an hour")
        self.workers.pick(plan.chance).terminate()

    async def _files_full(self, plan: Planned) -> None:
        process = self.workers.pick(plan.chance)
        self.tell(f"no room for the files of worker {process.pid} for {plan.lasts_s:.1f} s")
        with contextlib.suppress(ProcessLookupError), faults.files_full(process):
            await asyncio.sleep(plan.lasts_s)

    async def _agent_killed(self, plan: Planned) -> None:
        process = self.agents.pick(plan.chance)
        self.tell(f"producer {process.pid} killed")
        faults.kill(process)

    async def _agent_with_a_wrong_clock(self, plan: Planned) -> None:
        self.agents.ask(clock=f"{_HOUR_BACK}:{plan.lasts_s}")
        self.tell("a producer's clock is set back an hour while it sends")
        self.agents.pick(plan.chance).terminate()

    def _step(self, plan: Planned) -> str:
        steps = list(Step)
        return f"{steps[plan.chance % len(steps)]}:{1 + plan.chance % 7}"

    # -- the queue server -----------------------------------------------------------------------

    async def _server_killed(self, plan: Planned) -> None:
        async with self._busy["the server's settings"]:
            self.tell(f"queue server killed, away for {plan.lasts_s:.1f} s")
            with faults.server_away(self.system.server):
                await asyncio.sleep(plan.lasts_s)
            self.tell("queue server is back")

    async def _server_full(self, plan: Planned) -> None:
        async with self._busy["the server's settings"]:
            self.tell(f"queue server full for {plan.lasts_s:.1f} s")
            with faults.memory_full(self.system.server):
                await asyncio.sleep(plan.lasts_s)

    async def _arq_forgotten(self, _plan: Planned) -> None:
        async with self._busy["the server's settings"]:  # it must be there
            gone = faults.forget_arq(self.system.server.url, self.system.namespace)
            self.tell(f"{gone} of arq's keys deleted")

    # -- connections ----------------------------------------------------------------------------

    def _line(self, plan: Planned) -> tuple[Proxy, str]:
        return (self.to_workers, "workers") if plan.chance % 2 else (self.to_agents, "producers")

    async def _cut(self, plan: Planned) -> None:
        line, whose = self._line(plan)
        self.tell(f"connections of {whose} cut")
        line.cut()

    async def _on_the_line(self, plan: Planned, fault: Callable[[Proxy], AbstractContextManager[None]]) -> None:
        line, whose = self._line(plan)
        async with self._busy[whose]:
            self.tell(f"{plan.fault}, of {whose}, for {plan.lasts_s:.1f} s")
            with fault(line):
                await asyncio.sleep(plan.lasts_s)

    # -- stores ---------------------------------------------------------------------------------

    async def _sqlite_locked(self, plan: Planned) -> None:
        async with contextlib.AsyncExitStack() as held:
            while True:
                # A worker that stands still may have the lock, and is woken by this loop: it must not wait.
                with contextlib.suppress(sqlite3.OperationalError):
                    held.enter_context(faults.sqlite_locked(self.system.sql_url, wait_s=0))
                    break
                await asyncio.sleep(_LOOK_S)
            self.tell(f"SQLite locked by a stranger for {plan.lasts_s:.1f} s")
            await asyncio.sleep(plan.lasts_s)

    async def _sessions_ended(self, _plan: Planned) -> None:
        self.tell("PostgreSQL's sessions ended")
        await faults.end_sessions(self.system.sql_url)

    async def _vectors_away(self, plan: Planned) -> None:
        folder = Path(unquote(urlsplit(self.system.vector_url).path[1:]))
        with contextlib.suppress(FileNotFoundError), faults.folder_away(folder):
            self.tell(f"vectors' folder away for {plan.lasts_s:.1f} s")
            await asyncio.sleep(plan.lasts_s)
