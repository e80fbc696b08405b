"""Removes a table at once, whatever happens meanwhile."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from penstock.stores.lancedb.durability import sync_folder
from penstock.stores.lancedb.repair import newest_manifest, table_folder

_ENDING = ".dropped"


def remove_table(folder: Path, name: str) -> bool:
    """Remove the table, for good when this returns; False when there was none. Only the holder of its lock may call it.

    It is renamed first: removed file by file it would be a torn table for a while, and one for good if the power went.

    Raises:
        OSError: It may be there still.
    """
    table = table_folder(folder, name)
    if not table.exists():
        return False
    existed = newest_manifest(table) is not None
    table.rename(folder / f"{name}.{uuid.uuid4().hex}{_ENDING}")
    sync_folder(folder)
    remove_leftovers(folder)
    return existed


def remove_leftovers(folder: Path) -> None:
    """Remove what is left of tables whose removal was cut short."""
    for leftover in folder.glob(f"*{_ENDING}"):
        shutil.rmtree(leftover, ignore_errors=True)
