"""A whole system in a folder: queue server, worker processes, and a look into the database past the library."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from penstock.embedded import EmbeddedQueue
from penstock.producer import Producer
from penstock.wire.entries import Counts
from penstock.wire.queue import Queue


@dataclass
class System:
    """Workers are real processes; `environment` configures them as a user's environment would."""

    folder: Path
    server: EmbeddedQueue
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    namespace: str = field(default_factory=lambda: f"system-{uuid.uuid4().hex[:12]}")

    @property
    def environment(self) -> dict[str, str]:
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
        return self.folder / "penstock.db"

    def producer(self) -> Producer:
        return Producer.from_env(self.environment)

    def start_worker(self) -> subprocess.Popen[bytes]:
        log = (self.folder / f"worker-{len(self.workers)}.log").open("wb")
        worker = subprocess.Popen(
            [sys.executable, "-m", "penstock.cli", "worker"], env=self.environment, stdout=log, stderr=log
        )
        log.close()
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def contents(self) -> dict[str, list[str]]:
        """Every session's contents in order, read by our own SQL."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        with sqlite3.connect(self.database) as connection:
            rows = connection.execute(
                "SELECT s.id, m.content FROM messages m JOIN sessions s ON s.no = m.session_no "
                "ORDER BY m.created_at, m.id"
            )
            for session, content in rows:
                found[session].append(content)
        connection.close()
        return dict(found)

    def counters(self) -> dict[str, int]:
        with sqlite3.connect(self.database) as connection:
            found = dict(connection.execute("SELECT id, message_count FROM sessions"))
        connection.close()
        return found

    async def counts(self) -> Counts:
        async with Queue(self.server.url, self.namespace) as queue:
            return sum((await queue.counts()).values(), Counts())

    async def workers_alive(self, count: int, timeout_s: float = 30) -> None:
        """Wait until that many workers have begun."""
        async with asyncio.timeout(timeout_s), Queue(self.server.url, self.namespace) as queue:
            while len(await queue.workers()) < count:
                await asyncio.sleep(0.05)

    async def drained(self, timeout_s: float = 60) -> Counts:
        """Wait until nothing is pending."""
        async with asyncio.timeout(timeout_s):
            while (counts := await self.counts()).pending:
                await asyncio.sleep(0.05)
        return counts
