"""One writer a table, over all processes of the machine: a lock file beside each table."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from penstock.stores.errors import StoreUnavailable
from penstock.stores.lockfiles import open_lock, take

_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05


async def lock_tables(folder: Path, collections: Iterable[str], timeout_s: float) -> contextlib.ExitStack:
    """Lock the tables of *collections* for writing; closing the result lets go of them.

    Two writers without it store rows twice and hear no error (lancedb#3377). `flock` belongs to the open file,
    so it also keeps two tasks of one process apart, and the kernel lets go of it when the process dies.
    All are taken in the order of their names, so two batches never wait for each other. A cancelled call holds nothing.

    Raises:
        StoreUnavailable: Another writer held one of them until the deadline.
    """
    deadline = time.monotonic() + timeout_s
    with contextlib.ExitStack() as held:
        for collection in sorted(set(collections)):
            await _lock(folder / f"{collection}.lock", held, deadline)
        return held.pop_all()


async def _lock(path: Path, held: contextlib.ExitStack, deadline: float) -> None:
    lock = open_lock(path)
    held.callback(os.close, lock)
    pause = _FIRST_PAUSE_S
    while not take(lock):
        if time.monotonic() >= deadline:
            raise StoreUnavailable(f"another writer holds {path}; see who with: fuser {path}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
