"""Lock files, of which nobody else has one meanwhile: no other process, and no other store of this one.

The kernel lets go of a lock when its process dies. The file stays: to remove it would give two the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from penstock.stores.errors import StoreUnavailable


def open_lock(path: Path) -> int:
    """The lock file at *path*, made where it is not there, not taken yet. Who closes it lets go."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def take(lock: int) -> bool:
    """Take it without waiting; False where somebody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold(path: Path, held: contextlib.ExitStack, refusal: str) -> None:
    """Take the lock file at *path* until *held* is closed.

    Raises:
        StoreUnavailable: Somebody else has it; in the words of *refusal*.
    """
    lock = open_lock(path)
    held.callback(os.close, lock)
    if not take(lock):
        raise StoreUnavailable(refusal)
