"""Open shards, and how processes take turns with them: the engine lets one process have a shard open."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qdrant_edge as qdrant

from penstock.stores.lockfiles import open_lock, take
from penstock.stores.points.engine import Missing

CONFIG = "edge_config.json"
"""The file that a whole shard has."""

TURN_S = 0.03
"""How long who has handed a shard over leaves it to others, who look for it every `LOOK_S`."""

LOOK_S = 0.01

KEEP_S = 0.1
"""How long who has got a shard keeps it at least, so that a write, which is several calls, need not wait in between."""


class Busy(Exception):
    """Somebody else has the shard, or is to have it next. Nobody but the engine's own loop sees it."""


class Shard:
    """One collection's shard, opened when it is used and closed when somebody else asks for it.

    Who has it open holds a lock on a file beside it: the engine's own is on its log alone, and a shard that is opened
    while another process closes it is damaged. Who waits holds a shared lock on another file, at which who has the
    first one looks after each use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.turn = 0
        """Rises whenever it is opened: while it stays the same nobody else can have written."""
        self._lock = _Lock(folder.parent / f".lock-{folder.name}")
        self._turn = _Lock(folder.parent / f".turn-{folder.name}")
        self._gate = threading.Lock()
        self._users = 0
        self._at_length = 0
        self.waiting = 0
        """How many of this process wait for it."""
        self._handle: Any = None
        self._handed_over = -TURN_S
        self._got = 0.0
        self._used = 0.0

    @contextlib.contextmanager
    def used(self, *, at_length: bool = False) -> Iterator[Any]:
        """The engine's shard, which stays open meanwhile. Where that takes long others of this process need not wait.

        Raises:
            Busy: Not now.
            Missing: There is no such collection.
        """
        with self._gate:
            handle = self._opened()
            self._users += 1
            self._at_length += at_length
        try:
            yield handle
        finally:
            with self._gate:
                self._users -= 1
                self._at_length -= at_length
                self._used = time.monotonic()
                if self._users == 0 and self._is_wanted():
                    self._hand_over()

    def _opened(self) -> Any:
        if self._handle is not None and not self._at_length and self._is_wanted():
            if self._users:
                raise Busy  # of those who use it now the last one hands it over
            self._hand_over()
        if self._handle is None:
            if time.monotonic() < self._handed_over + TURN_S:
                raise Busy
            self._handle = self._load()
            self._got = time.monotonic()
            self.turn += 1
        return self._handle

    def _load(self) -> Any:
        self._look_for()  # before the files of locks are made
        if not self._lock.take():
            raise Busy
        try:
            self._look_for()
            return qdrant.EdgeShard.load(str(self.folder))
        except BaseException as exc:
            self._lock.give()
            if "WouldBlock" in str(exc):  # somebody without our lock, who may end
                raise Busy from exc
            raise

    def _look_for(self) -> None:
        if not (self.folder / CONFIG).exists():
            raise Missing(f"collection {self.folder.name} is not in folder {self.folder.parent}")

    def _hand_over(self) -> None:
        self._close()
        self._handed_over = time.monotonic()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            try:
                handle.close()
            finally:
                self._lock.give()

    def close_if_idle(self, idle_s: float) -> bool:
        """Close it where somebody waits for it, or nobody has used it for *idle_s*; False while it stays open."""
        with self._gate:
            if self._handle is None:
                return True
            if self._users or not (self._is_wanted() or time.monotonic() >= self._used + idle_s):
                return False
            self._hand_over()
            return True

    def move(self, to: Path) -> None:
        """Give the collection's folder another name, and close it. Nobody else can have opened it in between.

        Raises:
            Busy: Not now.
            Missing: There is no such collection.
        """
        with self._gate:
            self._opened()
            if self._users:
                raise Busy
            self.folder.rename(to)
            self._close()

    def forget(self) -> None:
        """Close it, and the files of locks."""
        with self._gate:
            self._close()
            self._lock.close()
            self._turn.close()

    @contextlib.contextmanager
    def wanted(self) -> Iterator[None]:
        """Ask whoever has it open to hand it over."""
        with self._turn.shared():
            self.waiting += 1
            try:
                yield
            finally:
                self.waiting -= 1

    def _is_wanted(self) -> bool:
        """Whether it is another process's turn. Who waits here goes first, at once."""
        if self.waiting or time.monotonic() < self._got + KEEP_S:
            return False
        is_free = self._turn.take()
        if is_free:
            self._turn.give()
        return not is_free


class _Lock:
    """A lock of the system's on a file, between processes and between stores of one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> bool:
        """Have it alone; False where somebody else has it."""
        if self._file is None:
            self._file = open_lock(self._path)
        return take(self._file)

    def give(self) -> None:
        """Let others have it."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Have it with others who share it."""
        file = open_lock(self._path)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield
        finally:
            os.close(file)

    def close(self) -> None:
        """Let go of it, and of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
