"""What Python does otherwise in a process that moves many small records."""

from __future__ import annotations

import gc
import sys

_YOUNG_OBJECTS = 100_000
"""Python looks for garbage when there are so many new containers. Drains hold some 50,000 records at a time and free
them without its help: at its own 700, looking through them took a fifth of a worker's processor time."""

_SWITCH_S = 0.000_5
"""A thread that wants Python's lock waits so long for one that does not let go of it. The thread that writes a SQLite
file asks for it every few hundred rows, while the loop decodes: at Python's own 5 ms it stood still twice as long."""


def suit_records() -> None:
    """Set both, for this process."""
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    sys.setswitchinterval(_SWITCH_S)
