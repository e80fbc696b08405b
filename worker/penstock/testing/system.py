"""A whole system in a folder: a queue server, worker and producer processes, and the checker's look at all of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

from penstock.embedded import EmbeddedQueue
from penstock.producer import Producer
from penstock.testing.checker import check
from penstock.testing.stores_seen import messages_of, sqlite_path, sqlite_rows
from penstock.testing.verdict import Verdict
from penstock.wire.entries import Counts
from penstock.wire.queue import Queue

Process: TypeAlias = subprocess.Popen[bytes]

_STOP_S = 20
_LOOK_S = 0.05


@dataclass
class System:
    """Workers and agents are real processes; `settings` configures them as a user's environment would.

    Without settings of yours records end in a SQLite file and a LanceDB folder inside *folder*. Set
    `PENSTOCK_SQL_URL` and `PENSTOCK_VECTOR_URL` to try stores of your own.
    """

    folder: Path
    server: EmbeddedQueue
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[Process] = field(default_factory=list)
    agents: list[Process] = field(default_factory=list)
    namespace: str = field(default_factory=lambda: f"system-{uuid.uuid4().hex[:12]}")

    @classmethod
    @contextmanager
    def alone(cls, folder: Path, *, appendfsync: str = "always") -> Iterator[Self]:
        """A system with a queue server of its own, which may be killed and started again.

        With `everysec` a killed server may lose up to two seconds of what it has confirmed: while a sync of its file
        is late, it holds writes back in its own memory.
        """
        server = EmbeddedQueue(folder / "queue", restartable_port(), appendfsync=appendfsync)
        system = cls(folder, server)
        with server:
            try:
                yield system
            finally:
                system.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What workers, agents and commands are set up by."""
        ours = {
            "PENSTOCK_REDIS_URL": self.server.url,
            "PENSTOCK_NAMESPACE": self.namespace,
            "PENSTOCK_SQL_URL": f"sqlite:///{self.database}",
            "PENSTOCK_VECTOR_URL": f"lancedb:///{self.folder}/vectors",
            "PENSTOCK_LEASE_MS": "2000",
        }
        return {**os.environ, **ours, **self.settings}

    @property
    def database(self) -> Path:
        """The SQLite file, where no setting says otherwise."""
        return self.folder / "penstock.db"

    @property
    def sql_url(self) -> str:
        """Where messages end."""
        return self.environment["PENSTOCK_SQL_URL"]

    @property
    def vector_url(self) -> str:
        """Where embeddings end."""
        return self.environment["PENSTOCK_VECTOR_URL"]

    @property
    def ledgers(self) -> list[Path]:
        """Those of all agents so far, and any other `*.ledger` in the folder."""
        return sorted(self.folder.glob("*.ledger"))

    # -- processes ------------------------------------------------------------------------------

    def producer(self) -> Producer:
        """A producer in this process."""
        return Producer.from_env(self.environment)

    def start_worker(
        self,
        *,
        die_at: Sequence[str] = (),
        pause_at: Sequence[str] = (),
        clock: str | None = None,
        redis_url: str | None = None,
    ) -> Process:
        """Start a worker, `penstock worker`, or one that is told when to fail.

        Args:
            die_at: Kill itself at a step: `after-store`, or `after-store:3` for the third time.
            pause_at: Stop itself at a step and be woken: `before-store:4` after four seconds, `before-store:4:3` at
                the third time.
            clock: Be wrong about the time by so many seconds: `-3600`, or `-3600:5` after five seconds.
            redis_url: Another way to the queue server, such as a proxy's.
        """
        options = [*_options("--die-at", die_at), *_options("--pause-at", pause_at), *_options("--clock", [clock])]
        command = ["penstock.testing.worker", *options] if options else ["penstock.cli", "worker"]
        return self._start(command, self.workers, "worker", redis_url)

    def start_agent(
        self,
        *,
        seed: int = 0,
        seconds: float = 10,
        rate: float = 500,
        poison: float = 0,
        clock: str | None = None,
        redis_url: str | None = None,
    ) -> Process:
        """Start a process that hands over records of every kind, with a ledger in the folder.

        Args:
            seed: What it hands over, and when.
            seconds: It ends after so long, or on SIGTERM, and has then sent all it could.
            rate: Calls a second.
            poison: The share of messages whose content begins with `poison`, for a store that refuses those.
            clock: As for `start_worker`.
            redis_url: As for `start_worker`.
        """
        name = f"agent-{len(self.agents)}"
        given = {"--name": name, "--ledger": self.folder / f"{name}.ledger", "--seed": seed, "--seconds": seconds}
        options = [f"{option}={value}" for option, value in {**given, "--rate": rate, "--poison": poison}.items()]
        command = ["penstock.testing.agent", *options, *_options("--clock", [clock])]
        return self._start(command, self.agents, "agent", redis_url)

    def _start(self, command: Sequence[str], kin: list[Process], name: str, redis_url: str | None) -> Process:
        environment = {**self.environment, **({"PENSTOCK_REDIS_URL": redis_url} if redis_url else {})}
        with (self.folder / f"{name}-{len(kin)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        kin.append(process)
        return process

    def run(self, *command: str) -> bytes:
        """The output of a `penstock` command.

        Raises:
            subprocess.CalledProcessError: It failed.
        """
        argv = [sys.executable, "-m", "penstock.cli", *command]
        return subprocess.run(argv, env=self.environment, check=True, capture_output=True).stdout

    def stop(self) -> None:
        """End every process, in peace where it can."""
        alive = [each for each in (*self.agents, *self.workers) if each.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        for process in alive:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- what has become of it ------------------------------------------------------------------

    def contents(self) -> dict[str, list[str]]:
        """Every session's contents in order, out of the SQLite file, past the library."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for row in messages_of(sqlite_rows(sqlite_path(self.sql_url))):
            found[row.session].append(row.content or "")
        return dict(found)

    def counters(self) -> dict[str, int]:
        """How many messages each session says that it has, out of the SQLite file."""
        return {row[0]: row[1] for row in sqlite_rows(sqlite_path(self.sql_url))["counters"]}

    async def counts(self) -> Counts:
        """The queue's counters, over all partitions."""
        async with Queue(self.server.url, self.namespace) as queue:
            return sum((await queue.counts()).values(), Counts())

    async def workers_alive(self, count: int, timeout_s: float = 30) -> None:
        """Wait until that many workers have begun."""
        async with asyncio.timeout(timeout_s), Queue(self.server.url, self.namespace) as queue:
            while len(await queue.workers()) < count:
                await asyncio.sleep(_LOOK_S)

    async def drained(self, timeout_s: float = 60) -> Counts:
        """Wait until nothing is pending, open streams included."""
        async with asyncio.timeout(timeout_s):
            while (counts := await self.counts()).pending:
                await asyncio.sleep(_LOOK_S)
        return counts

    async def check(self, *, replayed: Collection[str] = (), purged: Collection[str] = ()) -> Verdict:
        """The checker's verdict. Drain first."""
        return await check(
            self.ledgers,
            redis_url=self.server.url,
            namespace=self.namespace,
            sql_url=self.sql_url,
            vector_url=self.vector_url,
            replayed=replayed,
            purged=purged,
        )


def _options(name: str, values: Sequence[str | None]) -> list[str]:
    return [f"{name}={value}" for value in values if value is not None]


def restartable_port() -> int:
    """A port that nobody uses, below those that the kernel gives to connections.

    While a server is down its clients keep trying. Among the kernel's own ports one of them would be given the server's
    some day, and be connected to itself.
    """
    for port in range(20_000 + os.getpid() % 8_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port of 127.0.0.1 between 20000 and 32000 is free")
