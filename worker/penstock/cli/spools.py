"""What the producers of this machine have in their spools: seen on the disk, so also while the queue is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.cli.display import age
from penstock.producer.spool_folder import Spooled, SpoolFolder
from penstock.wire.ids import wall_clock_us


class SpoolGlance:
    """A folder of spools as it is now."""

    def __init__(self, folder: str, namespace: str) -> None:
        found = SpoolFolder(Path(folder), namespace)
        self._folder = found.path
        self._seen: Spooled = found.spooled()
        self._is_folder = self._folder.is_dir() or not self._folder.exists()
        self._now_us = wall_clock_us()

    @property
    def fine(self) -> bool:
        """Whether nothing waits there and nothing is wrong."""
        return self._is_folder and not self._seen.records and not self._seen.unreadable

    def sentence(self) -> str:
        """The one thing to know."""
        seen = self._seen
        if not self._is_folder:
            return f"Spool: {self._folder} is no folder, so producers here have none; PENSTOCK_SPOOL_DIR names another."
        waiting = f"Spool: nothing waits on this machine in {self._folder}"
        if seen.records:
            waiting = f"Spool: {seen.records:,} records ({_size(seen.size)}) wait on this machine in {self._folder}"
            waiting += f", oldest {age(self._oldest_age_s() or 0)}"
        if seen.unreadable:
            names = ", ".join(path.name for path in seen.unreadable)
            waiting += f"; not counted, since they are damaged or cannot be read: {names}"
        return f"{waiting}."

    def as_json(self) -> dict[str, Any]:
        """The same as data."""
        unreadable = self._seen.unreadable if self._is_folder else (self._folder,)
        return {
            "folder": str(self._folder),
            "records": self._seen.records,
            "bytes": self._seen.size,
            "oldest_age_s": self._oldest_age_s(),
            "unreadable": [str(path) for path in unreadable],
        }

    def _oldest_age_s(self) -> float | None:
        oldest_us = self._seen.oldest_us
        return None if oldest_us is None else max(0, self._now_us - oldest_us) / 1_000_000


def _size(size: int) -> str:
    for unit, worth in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= worth:
            return f"{size / worth:.1f} {unit}"
    return f"{size} bytes"
