"""One file of a spool: an SQLite database of runs of records, in order. Nothing here knows of an event loop."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sqlite3
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from penstock.producer.spool_lock import FileLock
from penstock.wire.entries import Push
from penstock.wire.errors import FrameError, PenstockError
from penstock.wire.frames import frames_of
from penstock.wire.ids import new_id, wall_clock_us
from penstock.wire.keys import Partition, partition_of
from penstock.wire.marks import marks_of

UNCUT = -1
"""The partition's number of a run whose records are of several."""

_APPLICATION = 0x50656E53  # "PenS"
_VERSION = 1
_CACHE = "-2000"  # KB; a run is read once
_WAL_PAGES = 4_000
_CUT_RUNS = 64
_CUT_BYTES = 4 * 1024 * 1024
"""About what one transaction of `cut` moves."""

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_PARTS = _NAME.split(resources.files("penstock.producer").joinpath("sql", "spool.sql").read_text("utf-8"))
_SQL = {name: body.strip().removesuffix(";") for name, body in zip(_PARTS[1::2], _PARTS[2::2], strict=True)}


class SpoolFailed(PenstockError):
    """The disk does not take or give it now. What is in the file stays there."""


class SpoolDamaged(SpoolFailed):
    """The file is none of ours, or broken."""


class SpoolTooNew(SpoolFailed):
    """A newer release made the file. It is left alone."""


class Draft(NamedTuple):
    """Records that shall be in the file: of one partition, or, with the number `UNCUT`, of one lane."""

    where: Partition
    producer_id: str
    """Empty for the file's own."""
    number: int
    """Of the push that they become; 0 for the place in the file."""
    records: int
    size: int
    """Bytes of the records and their keys."""
    level: int
    """How durable they must be in the queue: what any of them needs."""
    items: Iterable[str | bytes]
    """Key, record, key, record, ..., looked at while it is written."""


class Run(NamedTuple):
    """Records of one partition as they lie in the file."""

    seq: int
    push: Push
    records: int
    size: int
    level: int


class Held(NamedTuple):
    """What a file holds."""

    records: int
    size: int
    oldest_us: int | None


class SpoolFile:
    """An open file that is ours alone, until `close` or the end of the process. For one thread at a time."""

    def __init__(self, path: Path, lock: FileLock, namespace: str) -> None:
        """Open the file at *path*, or make it.

        Raises:
            SpoolDamaged: It is no spool, or not of this namespace.
            SpoolTooNew: A newer release made it.
            SpoolFailed: The disk says no.
        """
        self.path = path
        self._lock = lock
        self._connection = self._opened(path)
        try:
            with _translated(path):
                self._set_up(namespace)
        except BaseException:
            self._connection.close()
            raise
        _open.add(self)

    @staticmethod
    def _opened(path: Path) -> sqlite3.Connection:
        with _translated(path):
            # Made by us, since SQLite would let others read it; its other files get the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def _set_up(self, namespace: str) -> None:
        run = self._connection.execute
        version, application = (run(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
        if version == application == 0 and not run("SELECT 1 FROM sqlite_master").fetchone():
            run("PRAGMA journal_mode = WAL")
            with self._transaction():
                for name in ("create_about", "create_runs", "create_order"):
                    run(_SQL[name])
                run(_SQL["insert_about"], (new_id().hex(), namespace, wall_clock_us()))
                run(f"PRAGMA application_id = {_APPLICATION}")
                run(f"PRAGMA user_version = {_VERSION}")
        elif application != _APPLICATION:
            raise SpoolDamaged(f"{self.path} is no spool of Penstock")
        elif version > _VERSION:
            raise SpoolTooNew(
                f"{self.path} has version {version}, this release reads {_VERSION}; upgrade penstock here"
            )
        run(f"PRAGMA cache_size = {_CACHE}")
        run(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        about = run(_SQL["about"]).fetchone()
        if about is None:
            raise SpoolDamaged(f"{self.path} does not say whose it is")
        self._id, found, self.created_at_us = about
        if found != namespace:
            raise SpoolDamaged(f"{self.path} is the spool of namespace {found!r}, not of {namespace!r}")
        self._seq = run(_SQL["last_seq"]).fetchone()[0]

    # -- in -------------------------------------------------------------------------------------

    def put(self, drafts: Sequence[Draft], partitions: int) -> list[int]:
        """Make *drafts*, which are cut for so many partitions, durable, all or none; returns their places.

        Raises:
            SpoolFailed: None of them is there.
        """
        rows, now_us = [], wall_clock_us()
        for seq, draft in enumerate(drafts, self._seq + 1):
            body = msgpack.packb(list(draft.items))
            cut = partitions if draft.where.number != UNCUT else 0
            known = (draft.producer_id or self._id, draft.number or seq)
            rows.append(
                (
                    *(seq, draft.where.number, cut, draft.where.lane, *known),
                    *(draft.records, draft.size, draft.level, now_us, body),
                )
            )
        with _translated(self.path), self._synced(), self._transaction():
            self._connection.executemany(_SQL["insert_run"], rows)
        self._seq += len(rows)
        return [row[0] for row in rows]

    # -- out ------------------------------------------------------------------------------------

    def next(self, where: Partition, after: int, partitions: int) -> Run | None:
        """The first run of a partition, one of so many, behind place *after*. Raises `SpoolFailed`."""
        with _translated(self.path):
            row = self._connection.execute(_SQL["next_run"], (*where, after, partitions)).fetchone()
            if row is None:
                return None
            seq, producer_id, number, records, size, level, body = row
            return Run(seq, _push(where, producer_id, number, _unpacked(body)), records, size, level)

    def remove(self, places: Iterable[tuple[int, Partition]]) -> None:
        """Forget runs that the queue has. Brought back by a crash, they are known by their numbers.

        Raises:
            SpoolFailed: Some of them are still there.
        """
        with _translated(self.path), self._transaction():
            self._connection.executemany(_SQL["delete_run"], ((seq, where.number) for seq, where in places))

    def cut(self, partitions: int) -> bool:
        """Cut some runs for that many partitions, each in its place; False when none was left to cut.

        A run that was cut becomes, however often that is tried, the same pushes.

        Raises:
            SpoolFailed: Nothing was changed.
        """
        with _translated(self.path):
            found = self._connection.execute(_SQL["uncut_seqs"], (partitions, 0, _CUT_RUNS)).fetchall()
            if not found:
                return False
            with self._transaction():
                moved = 0
                for seq, size in found:
                    moved += size
                    if moved > _CUT_BYTES and seq != found[0][0]:
                        break
                    self._cut(seq, partitions)
            return True

    def uncut(self, partitions: int, after: int) -> list[Run]:
        """What is next behind place *after* and not cut, as what `cut` would make of it; nothing is changed.

        For a disk that takes nothing. Raises `SpoolFailed`.
        """
        with _translated(self.path):
            found = self._connection.execute(_SQL["uncut_seqs"], (partitions, after, 1)).fetchall()
            return [run for seq, _ in found for run, _ in self._parts(seq, partitions)[1]]

    def _cut(self, seq: int, partitions: int) -> None:
        at_us, cut = self._parts(seq, partitions)
        # First, so that the pages which this frees take what comes instead: the disk may be full.
        self._connection.execute(_SQL["delete_seq"], (seq,))
        for (_, push, records, size, level), items in cut:
            lane, part = push.partition
            known = (push.producer_id, push.number, records, size, level, at_us, msgpack.packb(items))
            self._connection.execute(_SQL["insert_run"], (seq, part, partitions, lane, *known))

    def _parts(self, seq: int, partitions: int) -> tuple[int, list[tuple[Run, list[Any]]]]:
        """When a place was filled, and the runs that it is cut into, each with its keys and records."""
        rows = self._connection.execute(_SQL["runs_of_seq"], (seq,)).fetchall()
        _, lane, at_us, level, _ = rows[0]
        parts = defaultdict[int, list[Any]](list)
        for row in rows:
            items = _unpacked(row[-1])
            for key, packed in zip(items[::2], items[1::2], strict=True):
                parts[partition_of(key, partitions)] += (key, packed)
        # With the number of partitions in it: in another one, a number would not mean the same records.
        producer_id = f"{self._id}/{partitions}"
        cut = []
        for part, items in parts.items():
            push = _push(Partition(lane, part), producer_id, seq, items)
            cut.append((Run(seq, push, len(items) // 2, sum(map(len, items)), level), items))
        return at_us, cut

    def totals(self, partitions: int | None = None) -> tuple[Counter[Partition], int]:
        """How many records of each partition there are, and the bytes of all; or of what is cut for so many partitions.

        Raises:
            SpoolFailed: They cannot be read now.
        """
        query = (_SQL["totals"],) if partitions is None else (_SQL["totals_cut"], (partitions,))
        with _translated(self.path):
            rows = self._connection.execute(*query).fetchall()
        counts = Counter({Partition(lane, part): records for lane, part, records, _ in rows})
        return counts, sum(row[3] for row in rows)

    # -- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the file. Who starts next may take it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._lock.release()

    def delete(self) -> None:
        """Remove the file, which is empty, and let go of it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        with contextlib.suppress(OSError):
            _remove(self.path)
        self._lock.release()

    def set_aside(self) -> Path:
        """Give the file another name, under which nobody takes it, and let go of it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        aside = set_aside(self.path)
        self._lock.release()
        return aside

    def disown(self) -> None:
        """Leave the file to the parent, in a child that a fork has made."""
        self._lock.disown()
        # Never closed, not even at the interpreter's end: SQLite would write into the file what it knew at the fork.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _synced(self) -> Iterator[None]:
        """Have a commit inside survive a power cut. Others survive the process."""
        self._connection.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous = NORMAL")


_open: weakref.WeakSet[SpoolFile] = weakref.WeakSet()


def _disown_all() -> None:
    # Any child, also one that knows nothing of producers: it would keep the lock when the parent has died.
    for file in list(_open):
        file.disown()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_disown_all)


def look(path: Path) -> Held:
    """What a file holds, beside whoever uses it. Changes nothing. Raises `SpoolFailed`."""
    with _translated(path), contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            return Held(0, 0, None)  # it is just being made
        return Held(*connection.execute(_SQL["summary"]).fetchone())


def set_aside(path: Path) -> Path:
    """Give a file, and what SQLite keeps beside it, another name. Raises `OSError`."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def _remove(path: Path) -> None:
    # The file first: without it the others mean nothing, but it may have been emptied in them alone.
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _push(where: Partition, producer_id: str, number: int, items: list[Any]) -> Push:
    packed = items[1::2]
    marks = marks_of(packed) if where.lane == "state" else ()
    return Push(where, producer_id, number, frames_of(packed), marks)


def _unpacked(body: bytes) -> list[Any]:
    try:
        items = msgpack.unpackb(body)
    except (TypeError, ValueError, msgpack.UnpackException) as exc:
        raise SpoolDamaged(f"a run is no MessagePack: {exc}") from exc
    if not isinstance(items, list) or len(items) % 2 or not all(type(each) is bytes for each in items[1::2]):
        raise SpoolDamaged("a run holds something other than keys and records")
    return items


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into our errors, keeping the cause."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a bug of ours must not condemn the file
        raise
    except (sqlite3.OperationalError, OSError) as exc:  # full, no rights, I/O, locked
        raise SpoolFailed(f"the spool {path} cannot be used: {exc}") from exc
    except (sqlite3.DatabaseError, FrameError) as exc:
        raise SpoolDamaged(f"the spool {path} is damaged: {exc}") from exc
