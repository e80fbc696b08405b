"""What Python does otherwise in a process that moves many small records."""

from __future__ import annotations

import asyncio
import gc
import sys

_YOUNG_OBJECTS = 100_000
"""Python looks for garbage when there are so many new containers. Drains hold some 50,000 records at a time and free
them without its help: at its own 700, looking through them took a fifth of a worker's processor time."""

_COLLECT_EVERY_S = 10.0
"""And after this long in any case: an error and the batch that it is about may hold one another, all 4 MB of it."""

_SWITCH_S = 0.000_1
"""A thread that wants Python's lock waits so long for one that does not let go of it. The thread that writes a SQLite
file asks for it after each statement, while the loop decodes: at Python's own 5 ms it stood still twice as long as at
0.5 ms, and at 0.1 ms a backlog moves 1.05 times as fast again. Less brings no more."""


def suit_records() -> None:
    """Set all of it, for this process, but for what `keep_collecting` does. What is there by now is there to stay."""
    gc.collect()
    gc.freeze()  # a look at the rest takes a millisecond, and not thirty
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    sys.setswitchinterval(_SWITCH_S)


async def keep_collecting() -> None:
    """Look for garbage now and then, until cancelled. A driver that was loaded meanwhile is there to stay, too."""
    modules = len(sys.modules)
    while True:
        await asyncio.sleep(_COLLECT_EVERY_S)
        gc.collect()
        if modules != len(sys.modules):
            modules = len(sys.modules)
            gc.freeze()
