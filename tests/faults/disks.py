"""Disks that are full or closed to writers, with the rights that a test has anywhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""What a command begins with that files' permissions are to hold for, also under root."""

_IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
_MOUNT = 'mount -t tmpfs -o size="$1" none "$0" && shift && exec "$@"'

_FEW_BYTES = 1024 * 1024
"""More than a worker's own log has, and less than a store."""


@contextmanager
def no_file_beyond(size: int, processes: Callable[[], Sequence[int]]) -> Iterator[None]:
    """Let none of *processes*, nor those that they start, write beyond *size* of any file."""
    _limit(processes(), str(size))
    try:
        yield
    finally:
        _limit(processes(), "unlimited")


def _limit(pids: Sequence[int], size: str) -> None:
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):  # it has ended
            command = ["prlimit", "--pid", str(pid), f"--fsize={size}:"]
            # As who runs it: root may not do it to others everywhere.
            subprocess.run(command, user=Path(f"/proc/{pid}").stat().st_uid, capture_output=True, check=True)


class SmallDisk:
    """A disk of so many bytes at *folder*, for one command that begins with `command`.

    Where this user may mount none, it is as large as any, and full for those files that would grow.
    """

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._size = size
        mounting = (*_IN_A_NAMESPACE, _MOUNT, str(folder), str(size))
        may = subprocess.run([*mounting, "true"], capture_output=True, check=False).returncode == 0
        self.command: Sequence[str] = mounting if may else ()

    @property
    def is_real(self) -> bool:
        """Whether a disk was made, which takes the right to."""
        return bool(self.command)

    def bring_out(self, pid: int) -> None:
        """Copy the files, which the command's process alone can name, to where everybody sees them."""
        if self.is_real:
            shutil.copytree(self._seen_by(pid), self._folder, dirs_exist_ok=True)

    def _seen_by(self, pid: int) -> Path:
        return Path(f"/proc/{pid}/root{self._folder}")

    @contextmanager
    def full(self, pid: int) -> Iterator[None]:
        """Leave no byte of room on it."""
        if not self.is_real:
            with no_file_beyond(_FEW_BYTES, lambda: [pid]):
                yield
            return
        filler = self._seen_by(pid) / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        yield
        filler.unlink()


@contextmanager
def closed_to_writers(folder: Path) -> Iterator[None]:
    """Take away the right to write to *folder* and all below it."""
    found = [(path, path.stat().st_mode) for path in (folder, *folder.rglob("*"))]
    for path, mode in found:
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in found:
            path.chmod(mode)
