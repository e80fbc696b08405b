"""The folders of collections that were dropped, which Chroma leaves where they are (1.5.9), with all the vectors."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from pathlib import Path

from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.chroma")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def remove_leftovers(folder: Path) -> None:
    """Remove the folders of no segment from Chroma's *folder*, which nobody else has open.

    They are listed before the segments are: one that is made meanwhile is not among them, or known.
    """
    left = [each for each in folder.iterdir() if _UUID.fullmatch(each.name)]
    uri = f"{(folder / 'chroma.sqlite3').absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        known = {name for (name,) in database.execute(_SQL["segments"])}
    for each in left:
        if each.name not in known:
            shutil.rmtree(each, ignore_errors=True)
