"""The example of `docs/reading.md` runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.stores.registry import sql_store
from penstock.wire import building
from penstock.wire.building_state import StateBuilder
from penstock.wire.ids import RisingClock, StampClock
from penstock.wire.records import Record

PAGE = Path(__file__).parents[2] / "docs/reading.md"


@pytest.fixture
async def sql_url(tmp_path: Path) -> str:
    clock = RisingClock()
    state = StateBuilder(clock, StampClock(b"producer"))
    said = [("user", "Where does the water go?", None), ("assistant", "Through the penstock.", {"model": "m-2"})]
    messages: list[Record] = [
        building.message(clock, session_id="chat-1", user_id="ada", role=role, content=content, metadata=metadata)
        for role, content, metadata in [*said, ("user", "Thanks.", {"model": "m-2"})]
    ]
    work: list[Record] = [
        building.log_event(clock, level=level, event="step", agent_id="coder") for level in ("info", "warning", "error")
    ]
    tasks: list[Record] = [
        state.task(task_id=f"t{number}", agent_id="coder", status=status)
        for number, status in enumerate(["completed", "failed", "completed", "failed"])
    ]
    store = sql_store(url := f"sqlite:///{tmp_path}/penstock.db")
    await store.setup()
    await store.write([*messages, *work, *tasks, state.key_value(key="greeting", value="hello")])
    await store.close()
    return url


def test_the_example_of_the_page_about_reading_prints_what_is_stored(sql_url: str) -> None:
    example, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)  # the other one needs a queue

    shown = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, "PENSTOCK_SQL_URL": sql_url},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert shown.stdout.splitlines() == [
        "user Where does the water go?",
        "assistant Through the penstock.",
        "user Thanks.",
        "by m-2: Through the penstock.",
        "chat-1 3 Thanks.",
        "2 warnings or worse",
        "['t3', 't1']",
        "hello",
        "4 tasks, 50% of the ended ones succeeded",
    ]
    assert shown.stderr == ""
