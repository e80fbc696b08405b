"""A note beside a table that its index is being written: until that is on disk, the index is not to be trusted.

The driver commits an index before its files are on disk. One that a power loss has torn would fail every search by it,
or leave rows out. A note that is found tells of it, and has the index made anew.
"""

from __future__ import annotations

from pathlib import Path

from penstock.stores.lancedb.durability import sync_folder


def note(folder: Path, name: str) -> None:
    """Leave the note, which is on disk when this returns. Raises `OSError`."""
    _note(folder, name).touch()
    sync_folder(folder)


def forget(folder: Path, name: str) -> None:
    """Remove it. A power loss may bring it back, which costs an index."""
    _note(folder, name).unlink(missing_ok=True)


def is_noted(folder: Path, name: str) -> bool:
    """Whether work on the index of that table was cut short, or is under way."""
    return _note(folder, name).exists()


def _note(folder: Path, name: str) -> Path:
    return folder / f"{name}.indexing"
