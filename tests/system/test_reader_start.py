"""What a reader's first question does to the program that asks it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.system.command import process

_RUN = """
import asyncio, sys, threading

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "lancedb":
            print("in the main thread:", threading.current_thread() is threading.main_thread())

sys.meta_path.insert(0, Watch())

from penstock.query import Reader

async def main():
    async with Reader.open(vectors=sys.argv[1]) as reader:
        print(await asyncio.gather(reader.collections(), reader.count_vectors("docs")), len(reader._opened))

asyncio.run(main())
"""


async def test_a_driver_is_loaded_beside_the_event_loop_and_once_for_all_who_ask(tmp_path: Path) -> None:
    ran = await process(f"lancedb:///{tmp_path}/vectors", program=(sys.executable, "-c", _RUN))

    assert (ran.code, ran.out.splitlines()) == (0, ["in the main thread: False", "[[], 0] 1"]), ran.err
