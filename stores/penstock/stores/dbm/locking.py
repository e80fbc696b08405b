"""One at a time, over all processes of the machine: a lock file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from penstock.stores.errors import StoreUnavailable
from penstock.stores.lockfiles import open_lock, take

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02


class FileLock:
    """Taken by a thread that may wait. The kernel lets go of it when the process dies."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._handle: int | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have it.

        Raises:
            StoreUnavailable: Somebody else had it until the deadline.
        """
        if self._handle is None:
            self._handle = open_lock(self._path)
        try:
            self._take(self._handle)
            yield
        except BaseException:
            self.close()  # and so let go: who could not open the file may never come back to close it
            raise
        fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _take(self, handle: int) -> None:
        deadline = time.monotonic() + self._timeout_s
        pause = _FIRST_PAUSE_S
        while not take(handle):
            if time.monotonic() >= deadline:
                raise StoreUnavailable(f"another process holds {self._path}; see who with: fuser {self._path}")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def close(self) -> None:
        """Let go of the file, which stays: to remove it would give two the lock."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
