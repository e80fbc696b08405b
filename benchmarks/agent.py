"""What an agent's run sees: messages written inline and awaited, against messages handed to Penstock.

PostgreSQL stands behind a proxy that delivers every piece 5 ms later, so each statement and each commit takes 10 ms
more. Inline is what agent frameworks do: a connection kept open, for each message a transaction with an insert and an
update of the session. The agent works for 50 ms between two messages. Statements and commits are counted in the
server's own log; for both ways without an index of words.

python -m benchmarks.agent [--messages 38] [--runs 5]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import asyncpg

from benchmarks.measuring import CONTENT, median, postgres, system, table, worker
from penstock.producer import Producer
from penstock.testing.proxy import Proxy

DELAY_S = 0.005
"""Each way."""

WORK_S = 0.05

_STATEMENT = re.compile(r" LOG:  (?:statement|execute [^:]*): (\w+)")


class Run(NamedTuple):
    """One run of one way."""

    waited_s: float
    """By the agent, in all its writes."""
    run_s: float
    """Its work and its writes."""
    stored_s: float
    """From the first message until the database has all of them."""
    statements: float
    commits: float


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=38)
    arguments.add_argument("--runs", type=int, default=5)
    given = arguments.parse_args()
    with postgres() as url, Proxy(url) as proxy, proxy.delayed(DELAY_S):
        log = Path(parse_qs(urlsplit(url).query)["host"][0], "log")
        asyncio.run(prepare(url))
        environment = {"PENSTOCK_SQL_URL": proxy.url, "PENSTOCK_INDEX_EVERY_MS": "0", "PENSTOCK_UPKEEP_EVERY_S": "0"}
        with system(**environment) as (_, ours), worker(ours):
            found = asyncio.run(alternate(proxy.url, ours, log, given.messages, given.runs))
    print(f"{given.messages} messages, {1000 * WORK_S:.0f} ms of work between two, a database 10 ms away:\n")
    show(found)


async def prepare(url: str) -> None:
    """Have every statement written to the log, and the tables of the inline way there."""
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER SYSTEM SET log_statement = 'all'")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("CREATE TABLE inline_sessions (id text PRIMARY KEY, messages int, updated_at timestamptz)")
    await connection.execute(
        "CREATE TABLE inline_messages (id uuid PRIMARY KEY, session_id text, role text, content text, at timestamptz)"
    )
    await connection.close()


async def alternate(url: str, environment: dict[str, str], log: Path, messages: int, runs: int) -> dict[str, list[Run]]:
    """Both ways in turn."""
    found = defaultdict(list)
    connection = await asyncpg.connect(url)
    async with Producer.from_env(environment) as producer:
        for _ in range(1 + runs):  # the first of each is left out: schema, plans, connections
            found["inline, awaited"].append(await inline(connection, log, messages))
            found["Penstock"].append(await handed_over(producer, log, messages))
    await connection.close()
    return {way: measured[1:] for way, measured in found.items()}


async def inline(connection: asyncpg.Connection, log: Path, messages: int) -> Run:
    """An insert, an update of the session and a commit for each message."""
    session = uuid.uuid4().hex
    await connection.execute("INSERT INTO inline_sessions VALUES ($1, 0, now())", session)

    async def write() -> None:
        now = datetime.now(UTC)
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO inline_messages VALUES ($1, $2, $3, $4, $5)", uuid.uuid4(), session, "user", CONTENT, now
            )
            await connection.execute(
                "UPDATE inline_sessions SET messages = messages + 1, updated_at = $2 WHERE id = $1", session, now
            )

    async def nothing_left() -> None:
        return

    return await timed(write, nothing_left, log, messages)


async def handed_over(producer: Producer, log: Path, messages: int) -> Run:
    """A call for each message."""
    session = uuid.uuid4().hex

    async def write() -> None:
        producer.message(session_id=session, role="user", content=CONTENT)

    async def all_stored() -> None:
        await producer.flush(until="stored")

    return await timed(write, all_stored, log, messages)


async def timed(
    write: Callable[[], Awaitable[None]], until_stored: Callable[[], Awaitable[None]], log: Path, messages: int
) -> Run:
    """An agent's run of that many messages."""
    place, waited_s, started = len(text_of(log)), 0.0, time.perf_counter()
    for _ in range(messages):
        before = time.perf_counter()
        await write()
        waited_s += time.perf_counter() - before
        await asyncio.sleep(WORK_S)
    run_s = time.perf_counter() - started
    await until_stored()
    stored_s = time.perf_counter() - started
    await asyncio.sleep(0.5)  # the next run begins with a system that has fallen idle
    seen = Counter(_STATEMENT.findall(text_of(log)[place:]))
    commits = seen.pop("COMMIT", 0)
    return Run(waited_s, run_s, stored_s, seen.total(), commits)


def text_of(log: Path) -> str:
    """What the server has written so far."""
    return log.read_text()


def show(found: dict[str, list[Run]]) -> None:
    """Print medians."""
    rows = []
    for way, runs in found.items():
        middle = Run(*map(median, zip(*runs, strict=True)))
        rows.append(
            [
                way,
                f"{1000 * middle.waited_s:,.1f}",
                f"{middle.run_s:.2f}",
                f"{middle.stored_s:.2f}",
                f"{middle.statements:.0f}",
                f"{middle.commits:.0f}",
            ]
        )
    head = ("way", "the agent waits, ms", "its run, s", "all stored after, s", "statements", "commits")
    table(head, rows)


if __name__ == "__main__":
    main()
