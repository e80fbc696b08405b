"""The example of `docs/dead-letters.md` runs as it stands."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from penstock.stores.sqlite import open_sql
from penstock.wire import building
from penstock.wire.ids import RisingClock
from penstock.wire.queue import Queue
from tests.system.letter_support import bury_records

PAGE = Path(__file__).parents[2] / "docs/dead-letters.md"


@pytest.fixture
async def letters(own_server: Queue, tmp_path: Path) -> Queue:
    """A namespace as programs have it without a setting, with letters; and a store where the example looks for it."""
    clock = RisingClock()
    store = open_sql(f"sqlite:///{tmp_path}/penstock.db")
    await store.setup()
    async with Queue(own_server.scripts.url) as queue:
        said = [building.message(clock, session_id="chat-1", role="user", content="x" * 20) for _ in range(3)]
        await store.write(said[:1])
        await bury_records(queue, said, reason="a text has 20 characters")
    await store.close()
    return own_server


async def test_the_example_of_the_page_about_dead_letters_replays_them(letters: Queue, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)

    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", example, cwd=tmp_path, stdout=PIPE, stderr=PIPE,
        env={**os.environ, "PENSTOCK_REDIS_URL": letters.scripts.url},
    )  # fmt: skip
    out, err = await ran.communicate()

    assert out.decode().splitlines() == [
        "3 rejected a text has 20 characters",
        "2 would be stored, 1 are known, 0 would come back",
        "3 replayed",
        *["pending edited"] * 3,
    ]
    assert err == b""
