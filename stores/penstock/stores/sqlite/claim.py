"""Who checkpoints a file: the one writer that holds its lock file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class Claim:
    """An advisory lock beside the database, `<file>-writer`. The kernel lets go of it when its holder dies."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-writer")
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this writer holds it."""
        return self._descriptor is not None

    def take(self) -> bool:
        """Take it unless another one holds it. Never waits. Where locks do not work, everybody holds it."""
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return True
        if not _locked(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of it. The file stays: deleting it would let two writers hold two of them."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
