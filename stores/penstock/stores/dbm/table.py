"""The dbm file: read as it is, and made anew as a whole.

No kind of dbm file survives a crash while it is written, so none is written where somebody reads: a new one is made
beside it, and takes its place in steps that are noted before, which whoever comes next finishes.
"""

from __future__ import annotations

import bisect
import dbm
import importlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from penstock.stores.dbm.settings import DbmSettings
from penstock.stores.errors import StoreUnavailable
from penstock.stores.syncing import sync, write_whole

_KINDS = ("dbm.gnu", "dbm.dumb")
"""What a new file may be, the first that this Python has. Others limit the size of a value."""

_SUFFIXES = ("", ".dat", ".dir", ".pag", ".db")
"""Of the files that some kind of dbm consists of."""

_OURS = b"penstock"
"""A key of every file of ours; no path begins so."""


class Table:
    """Rows by the paths of their keys. Everything here happens under the lock."""

    def __init__(self, settings: DbmSettings) -> None:
        self._path = settings.path
        self._next = settings.beside("next")
        self._plan = settings.beside("swap")
        self._db: Any = None
        self._keys: list[bytes] = []
        self._files: list[Path] = []
        """What it consists of. A name of the same stem may be somebody else's: a SQLite file ends in `.db`, too."""

    def open(self) -> None:
        """Open the file as it is now. Where there is none, it is empty.

        Raises:
            StoreUnavailable: It is none of ours, damaged, or of a kind that this Python cannot read.
        """
        self.close()
        kind = dbm.whichdb(str(self._path))
        if kind is None:
            self._refuse_half()
            return
        try:
            self._db = dbm.open(str(self._path), "r")  # noqa: SIM115 - stays open
            self._keys = sorted(self._db.keys())
        except (*dbm.error, ValueError, SyntaxError) as exc:
            raise StoreUnavailable(f"{self._path} cannot be read as a dbm file: {exc}") from exc
        if _OURS not in self._keys:
            raise StoreUnavailable(f"{self._path} is a dbm file, but none of Penstock's; choose another name")
        self._keys.remove(_OURS)
        self._files = _files_of(self._path, kind)

    def close(self) -> None:
        """Let go of it."""
        db, self._db, self._keys, self._files = self._db, None, [], []
        if db is not None:
            db.close()

    def get(self, path: bytes) -> bytes | None:
        """The row under *path*."""
        if self._db is None:
            return None
        try:
            row: bytes = self._db[path]
        except KeyError:
            return None
        return row

    def paths(self, prefix: bytes) -> Iterator[bytes]:
        """Those that begin with *prefix*, sorted."""
        for at in range(bisect.bisect_left(self._keys, prefix), len(self._keys)):
            if not self._keys[at].startswith(prefix):
                return
            yield self._keys[at]

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(each.stat().st_size for each in self._files)

    def is_moving(self) -> bool:
        """Whether somebody was interrupted while a new file took the place of the old one."""
        return self._plan.exists()

    def draft(self, rows: Iterable[tuple[bytes, bytes]], generation: int) -> None:
        """Make a new file of *rows* beside the old one, and note that it shall take its place."""
        self._clear_draft()
        try:
            self._fill_draft(rows)
        except BaseException:
            self._clear_draft()  # on a full disk it takes the room of what is to be written next
            raise
        Path(f"{self._next}.bak").unlink(missing_ok=True)  # of its index, while it was made
        made = _existing(self._next, _SUFFIXES)
        moves = {str(each): str(self._path) + str(each).removeprefix(str(self._next)) for each in made}
        gone = [str(each) for each in self._files if str(each) not in moves.values()]
        for each in made:
            sync(each)
        sync(self._path.parent)
        write_whole(self._plan, json.dumps({"generation": generation, "moves": moves, "gone": gone}).encode())

    def _fill_draft(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        new = _first_kind().open(str(self._next), "n")
        try:
            new[_OURS] = b"1"
            for path, row in rows:
                new[path] = row
        finally:
            new.close()

    def _clear_draft(self) -> None:
        for left_over in _existing(self._next, (*_SUFFIXES, ".bak")):
            left_over.unlink()

    def move(self) -> int:
        """Have the new file take the old one's place, from wherever that was interrupted. Returns its generation."""
        self.close()
        plan = json.loads(self._plan.read_bytes())
        for new, old in plan["moves"].items():
            with suppress(FileNotFoundError):  # moved before
                Path(new).replace(old)
        for each in plan["gone"]:
            Path(each).unlink(missing_ok=True)
        sync(self._path.parent)
        return int(plan["generation"])

    def forget_plan(self) -> None:
        """It was carried out, and the journal has begun anew."""
        self._plan.unlink()
        sync(self._path.parent)

    def _refuse_half(self) -> None:
        """What a new file's parts would overwrite is not ours, or all that is left of one of ours."""
        for found in _existing(self._path, (".dat", ".dir")):
            raise StoreUnavailable(
                f"{found} alone is no dbm file: if it is Penstock's, restore the rest; if not, choose another name"
            )


def _first_kind() -> Any:
    for name in _KINDS[:-1]:
        with suppress(ImportError):
            return importlib.import_module(name)
    return importlib.import_module(_KINDS[-1])


def _files_of(path: Path, kind: str) -> list[Path]:
    """The files that a dbm of that name and *kind* consists of."""
    if kind == "dbm.dumb":
        return _existing(path, (".dat", ".dir"))
    if kind == "dbm.ndbm":
        return _existing(path, (".pag", ".dir")) or _existing(path, (".db",))
    return _existing(path, ("",))


def _existing(path: Path, suffixes: Iterable[str]) -> list[Path]:
    return [found for suffix in suffixes if (found := Path(f"{path}{suffix}")).is_file()]
