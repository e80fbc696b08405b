"""Files on the disk, and under their names."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Have what *path*, a file or a folder, holds survive a power loss."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Put a file with *content* in the place of *path*: after a crash the old one is there, or all of the new one."""
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)
