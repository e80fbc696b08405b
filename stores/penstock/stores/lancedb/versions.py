"""At which version a handle is, and whether that is the newest: told by looks at three names, not by the driver.

The driver lists the folder of all versions, and a table that is written to has thousands.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_NEWEST_NAME = 2**64 - 1


class Version(NamedTuple):
    """A version of one table, as it lies on disk. Another table's of the same name and number is another."""

    number: int
    inode: int
    """Of its manifest."""
    made_ns: int
    listed_ns: int
    """When a manifest was last put beside it, or taken away."""


def version_at(table: Path, number: int) -> Version | None:
    """Version *number*; None where it is not there (any more), or is of a Lance whose names did not sort."""
    try:
        manifest, folder = _manifest(table, number).stat(), (table / "_versions").stat()
    except FileNotFoundError:
        return None
    return Version(number, manifest.st_ino, manifest.st_mtime_ns, folder.st_mtime_ns)


def is_newest(table: Path, version: Version) -> bool:
    """Whether nobody has committed since *version* was looked at.

    Two commits within a tick of the clock leave the folder's time as it was, so the next version's name is looked for
    as well. That alone would not do: where somebody keeps a version by a tag, those after it are removed in time.
    """
    return version_at(table, version.number) == version and not _manifest(table, version.number + 1).exists()


def is_there(table: Path, version: Version) -> bool:
    """Whether *version* lies there still, and no other of its number: of a table that was dropped and made anew.

    A folder's inode would not tell: the new table's folder may have the old one's.
    """
    now = version_at(table, version.number)
    return now is not None and (now.inode, now.made_ns) == (version.inode, version.made_ns)


def _manifest(table: Path, number: int) -> Path:
    return table / "_versions" / f"{_NEWEST_NAME - number:020}.manifest"
