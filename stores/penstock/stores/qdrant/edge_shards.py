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

from penstock.stores.qdrant.engine import Missing

CONFIG = "edge_config.json"
"""The file that a whole shard has."""

TURN_S = 0.03
"""How long who has handed a shard over leaves it to others, who look for it every `LOOK_S`."""

LOOK_S = 0.01


class Busy(Exception):
    """Somebody else has the shard, or is to have it next. Nobody but the engine's own loop sees it."""


class Shard:
    """One collection's shard, opened when it is used and closed when somebody else asks for it.

    Who waits holds a shared lock on a file beside it. Who has it open looks after each use whether somebody does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.turn = 0
        """Rises whenever it is opened: while it stays the same nobody else can have written."""
        self._turns = folder.parent / f".turn-{folder.name}"
        self._gate = threading.Lock()
        self._users = 0
        self.waiting = 0
        """How many of this process wait for it."""
        self._handle: Any = None
        self._asked: int | None = None
        self._handed_over = -TURN_S

    @contextlib.contextmanager
    def used(self) -> Iterator[Any]:
        """The engine's shard, which stays open meanwhile.

        Raises:
            Busy: Not now.
            Missing: There is no such collection.
        """
        with self._gate:
            handle = self._opened()
            self._users += 1
        try:
            yield handle
        finally:
            with self._gate:
                self._users -= 1
                if self._users == 0 and self._is_wanted():
                    self._hand_over()

    def _opened(self) -> Any:
        if self._handle is not None and self._is_wanted():
            if self._users:
                raise Busy  # of those who use it now the last one hands it over
            self._hand_over()
        if self._handle is None:
            if time.monotonic() < self._handed_over + TURN_S:
                raise Busy
            self._handle = self._load()
            self.turn += 1
        return self._handle

    def _load(self) -> Any:
        if not (self.folder / CONFIG).exists():
            raise Missing(f"collection {self.folder.name} is not in folder {self.folder.parent}")
        try:
            return qdrant.EdgeShard.load(str(self.folder))
        except Exception as exc:
            if "WouldBlock" in str(exc):
                raise Busy from exc
            raise

    def _hand_over(self) -> None:
        self._close()
        self._handed_over = time.monotonic()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def let_go(self) -> None:
        """Close it, unless it is used."""
        with self._gate:
            if not self._users:
                self._close()

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
        """Close it, and the file of turns."""
        with self._gate:
            self._close()
            if self._asked is not None:
                os.close(self._asked)
                self._asked = None

    @contextlib.contextmanager
    def wanted(self) -> Iterator[None]:
        """Ask whoever has it open to hand it over."""
        asking = os.open(self._turns, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(asking, fcntl.LOCK_SH)
            self.waiting += 1
            yield
        finally:
            self.waiting -= 1
            os.close(asking)

    def _is_wanted(self) -> bool:
        """Whether another process waits for it. Who waits here has its turn first, at once."""
        if self.waiting:
            return False
        if self._asked is None:
            self._asked = os.open(self._turns, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._asked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._asked, fcntl.LOCK_UN)
        return False
