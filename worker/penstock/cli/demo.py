"""`penstock demo`: the whole way of a record, on one machine, in a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from penstock.cli.audit import show_audit
from penstock.cli.connection import looking_at
from penstock.cli.demo_agents import COLLECTION, Agent, Transcript, toy_vector
from penstock.cli.demo_figures import Stopwatch, every_time, percentile
from penstock.cli.demo_screen import Screen
from penstock.cli.display import age, console, print_table
from penstock.cli.exits import Code, Stop
from penstock.cli.ledger import Audit, Status
from penstock.cli.options import environment
from penstock.cli.processes import WorkerProcess, ending_cleanly
from penstock.cli.queries import summary
from penstock.cli.vector_queries import show_hits
from penstock.embedded import EmbeddedQueue
from penstock.wire.errors import QueueUnavailable
from penstock.wire.queue import Queue

_FLUSH_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.2
_QUESTION = "How do I get my money back for a cancelled flight?"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What a run left to be told."""

    seconds: float
    """From the first call until everything was stored."""
    times_s: Mapping[str, Sequence[float]]
    audit: Audit
    session: str | None
    """A complete conversation."""


def demo(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long the agents work.")] = 10,
    agents: Annotated[int, typer.Option(min=1, max=500, help="How many agents.")] = 12,
) -> None:
    """Show agents, queue, worker and stores at work.

    Simulated agents hand over messages, streamed answers, logs and embeddings; a worker in a process of its own
    stores them in SQLite and LanceDB. Ends with the audit, the figures, one conversation and one search. Leaves
    nothing behind. Exit code 1 where the audit does not add up.
    """
    with (
        ending_cleanly(),
        tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder,
        EmbeddedQueue(Path(folder) / "queue") as server,
    ):
        sql, vectors = f"sqlite:///{folder}/penstock.db", f"lancedb:///{folder}/vectors"
        settings = environment(server.url, "demo", sql, vectors)
        with WorkerProcess(settings, Path(folder) / "worker.log") as worker:
            asyncio.run(_demo(settings, worker, seconds, agents))


async def _demo(settings: Mapping[str, str], worker: WorkerProcess, seconds: float, agents: int) -> None:
    out = console()
    out.print(f"{agents} agents, a queue server, a worker, SQLite and LanceDB, for {seconds:g} s.")
    await worker.wait_until_alive()
    run = await _perform(settings, out, seconds, agents)
    show_audit(run.audit)
    _show_figures(out, run)
    await _show_what_is_stored(out, settings, run.session)
    _require_success(run.audit)


async def _perform(settings: Mapping[str, str], out: Console, seconds: float, number: int) -> _Run:
    from penstock.producer import Producer  # noqa: PLC0415 - see `app`

    url, namespace = settings["PENSTOCK_REDIS_URL"], settings["PENSTOCK_NAMESPACE"]
    transcript = Transcript()
    clock = asyncio.get_running_loop().time
    async with Producer(url, namespace=namespace) as producer, looking_at(url, namespace) as queue:
        started = clock()
        with Screen(out, transcript, seconds) as screen:
            watch = asyncio.create_task(_watch(queue, screen))
            try:
                async with asyncio.TaskGroup() as tasks:
                    stopwatch = Stopwatch(tasks)
                    agents = [
                        Agent(each, producer, stopwatch.measure, transcript if each == 0 else Transcript())
                        for each in range(number)
                    ]
                    for agent in agents:
                        tasks.create_task(agent.work(started + seconds))
                await producer.flush(until="stored", timeout=_FLUSH_TIMEOUT_S)
            finally:
                watch.cancel()
        took = clock() - started
        audit = await Audit.of(queue)
    sessions = [session for agent in agents for session in agent.sessions]
    return _Run(seconds=took, times_s=stopwatch.times_s, audit=audit, session=next(iter(sessions), None))


async def _watch(queue: Queue, screen: Screen) -> None:
    while True:
        with contextlib.suppress(QueueUnavailable):  # the producer waits for it, and so does the display
            screen.update(await Status.of(queue))
        await asyncio.sleep(_LOOK_EVERY_S)


def _show_figures(out: Console, run: _Run) -> None:
    records = sum(lane["accepted"] for lane in run.audit.lanes().values())
    times = every_time(run.times_s)
    out.print()
    out.print(f"records          {records:,}")
    out.print(f"records/s        {records / run.seconds:,.0f} (the agents' pace, not the limit)")
    out.print(f"call to stored   p50 {age(percentile(times, 0.50))}, p99 {age(percentile(times, 0.99))}")
    rows = [
        [lane, len(times), age(percentile(times, 0.50)), age(percentile(times, 0.99))]
        for lane, times in run.times_s.items()
    ]
    print_table(["lane", "sampled", "p50", "p99"], rows, ["sampled", "p50", "p99"])


async def _show_what_is_stored(out: Console, settings: Mapping[str, str], session: str | None) -> None:
    from penstock.query import Reader  # noqa: PLC0415 - drivers are slow to load

    async with Reader.open(sql=settings["PENSTOCK_SQL_URL"], vectors=settings["PENSTOCK_VECTOR_URL"]) as reader:
        if session:
            out.print(f"The conversation {session}, read back:", style="bold")
            page = await reader.messages(session_id=session)
            print_table(["created (UTC)", "role", "content"], [[m.created_at, m.role, summary(m)] for m in page.items])
        out.print(f"Questions nearest to {_QUESTION!r}:", style="bold")
        show_hits(await reader.search(COLLECTION, vector=toy_vector(_QUESTION), top_k=3))


def _require_success(audit: Audit) -> None:
    lanes = audit.lanes().values()
    if not audit.balanced:
        raise Stop("the audit does not add up", Code.NO)
    if any(lane["pending"] or lane["dead"] for lane in lanes):
        raise Stop("something was not stored; see the audit above", Code.NO)
