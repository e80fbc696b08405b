"""Steps a table back over commits that a power loss has torn.

A commit that was synced cannot be torn, and a write returns only after the sync: what is stepped over was never
acknowledged, and will be delivered again.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

MAGIC = b"LANC"
"""The last four bytes of every whole manifest and data file (Lance file format 2)."""

_FOOTER = struct.Struct("<QHH4s")
_DATA_FILE = re.compile(rb"[0-9a-f]{32,64}\.lance")
_NEWEST_NAME = 2**64 - 1


def table_folder(root: Path, collection: str) -> Path:
    """Where the collection's table lies, there or not."""
    return root / f"{collection}.lance"


def newest_manifest(table: Path) -> Path | None:
    """The manifest that Lance would open; None when the table has no version at all."""
    return max((table / "_versions").glob("*.manifest"), key=_version, default=None)


def _version(manifest: Path) -> int:
    # Names count down from 2**64 - 1, so that a listing begins with the newest; very old tables count up.
    number = int(manifest.stem) if manifest.stem.isdigit() else -1
    return _NEWEST_NAME - number if len(manifest.stem) == 20 else number


def is_whole(manifest: Path) -> bool:
    """Whether the manifest and every data file it names are complete.

    Looks at sizes and footers, never at the driver's opinion: an error of the moment must not undo a good commit.
    """
    try:
        content = manifest.read_bytes()
    except FileNotFoundError:  # cleaned up by a compaction, so there is a newer one
        return False
    if len(content) < _FOOTER.size:
        return False
    position, _, _, magic = _FOOTER.unpack(content[-_FOOTER.size :])
    if magic != MAGIC or position >= len(content):
        return False
    data = manifest.parent.parent / "data"
    return all(_ends_whole(data / name.decode()) for name in set(_DATA_FILE.findall(content)))


def _ends_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(MAGIC), 2)
            return file.read() == MAGIC
    except OSError:  # not there, or shorter than the magic
        return False


def step_back(table: Path) -> list[Path]:
    """Put torn manifests aside, newest first, until a whole one is the newest. Returns where they are now.

    Only the holder of the table's lock may call it.
    """
    aside = []
    while (manifest := newest_manifest(table)) is not None and not is_whole(manifest):
        aside.append(manifest.rename(manifest.with_suffix(".torn")))
    return aside
