"""A record the database refuses, end to end: buried with its reason, replayed once the cause is gone."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import pytest

from penstock.producer import DeadLettered
from penstock.testing.system import System

TRIGGER = """
CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.content = 'poison'
BEGIN SELECT RAISE(ABORT, 'poison is not stored here'); END
"""


async def test_one_poison_record_in_a_thousand_is_buried_and_replays_once_the_cause_is_gone(system: System) -> None:
    system.start_worker()
    async with system.producer() as producer:
        await producer.message(session_id="s", role="user", content="first").stored(timeout=20)
        execute(system, TRIGGER)
        receipts = [
            producer.message(session_id="s", role="user", content="poison" if n == 617 else str(n)) for n in range(1000)
        ]
        await receipts[-1].stored(timeout=20)
        with pytest.raises(DeadLettered, match="a trigger refuses the row"):
            await receipts[617].stored(timeout=20)

    expected = ["first", *(str(n) for n in range(1000) if n != 617)]
    assert system.contents() == {"s": expected}
    letters = penstock(system, "dlq", "list", "--json")
    assert [letter["id"] for letter in letters] == [receipts[617].id]
    execute(system, "DROP TRIGGER poison")
    penstock(system, "dlq", "replay", "--json")
    counts = await system.drained()

    assert system.contents() == {"s": [*expected[:618], "poison", *expected[618:]]}
    assert (counts.accepted, counts.stored, counts.dead, counts.balanced) == (1001, 1001, 0, True)


def execute(system: System, statement: str) -> None:
    connection = sqlite3.connect(system.database, isolation_level=None, timeout=10)
    connection.execute(statement)
    connection.close()


def penstock(system: System, *arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli", *arguments], env=system.environment, capture_output=True, check=True
    )
    found = json.loads(done.stdout)
    return found if isinstance(found, list) else [found]
