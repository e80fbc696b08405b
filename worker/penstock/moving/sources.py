"""Files to import: what they hold, and their lines."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import cast

from penstock.moving.restoring import is_export, is_of_vectors

_GZIP_MAGIC = b"\x1f\x8b"
_SQLITE_MAGIC = b"SQLite format 3\0"
STANDARD_INPUT = Path("-")

_HEAD_LINES = 50
"""Looked at for one that tells what the file holds: some may be broken."""

_EVENT_KEYS = {"type", "event_type", "event"}
_CONVERSATION_KEYS = {"messages", "session_id"}


class Shape(Enum):
    """What a file holds."""

    CONVERSATIONS = "conversations"
    EXPORT = "an export"
    VECTORS = "an export of vectors"
    EVENTS = "events"
    TASKS = "tasks"
    TEXT = "lines of text"
    DATABASE = "a SQLite database"


DAMAGE = (OSError, EOFError, zlib.error)
"""What reading a file may raise, in gzip or not."""


@dataclass(slots=True)
class Source:
    """One file. A pipe stays open from the look at its beginning on, since it cannot be read twice."""

    path: Path
    shape: Shape
    modified_us: int
    """When the file was written last."""
    _kept: tuple[BufferedReader, Iterator[bytes]] | None

    @property
    def is_conversations(self) -> bool:
        """Whether the queue gets it, and not the store."""
        return self.shape is Shape.CONVERSATIONS

    @property
    def is_vectors(self) -> bool:
        """Whether the vector store gets it, and not the SQL store."""
        return self.shape is Shape.VECTORS

    def open(self) -> tuple[BufferedReader, Iterator[bytes]]:
        """The file, which the caller closes, and its lines."""
        if self._kept:
            return self._kept
        raw = self.path.open("rb")
        return raw, _lines_of(raw)


def look_at(path: Path) -> Source:
    """*path*, and what its beginning says that it holds. Raises `OSError`."""
    raw = os.fdopen(os.dup(0), "rb") if path == STANDARD_INPUT else path.open("rb")
    modified_us = os.fstat(raw.fileno()).st_mtime_ns // 1_000
    if raw.peek(len(_SQLITE_MAGIC)).startswith(_SQLITE_MAGIC):
        raw.close()
        return Source(path, Shape.DATABASE, modified_us, None)
    lines = _lines_of(raw)
    head = list(_head(lines))
    shape = _shape_of(head, path.name.removesuffix(".gz"))
    if raw.seekable() and path != STANDARD_INPUT:
        raw.close()
        return Source(path, shape, modified_us, None)
    return Source(path, shape, modified_us, (raw, chain(head, lines)))


def _head(lines: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from islice(lines, _HEAD_LINES)
    except DAMAGE:
        return  # whoever reads on is told


def _lines_of(raw: BufferedReader) -> Iterator[bytes]:
    if raw.peek(2)[:2] != _GZIP_MAGIC:
        return iter(raw)
    return iter(cast("Iterable[bytes]", gzip.GzipFile(fileobj=raw)))


def _shape_of(head: Iterable[bytes], name: str) -> Shape:
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a name, not a path
    for line in head:
        if is_export(line):
            return Shape.VECTORS if is_of_vectors(line) else Shape.EXPORT
        if suffix in (".log", ".txt"):
            return Shape.TEXT
        keys = _keys_of(line)
        if suffix == ".json" and not keys & _CONVERSATION_KEYS:
            return Shape.TASKS
        if keys & _CONVERSATION_KEYS:
            return Shape.CONVERSATIONS
        if keys & _EVENT_KEYS:
            return Shape.EVENTS
    return Shape.TEXT if suffix in (".log", ".txt") else Shape.CONVERSATIONS


def _keys_of(line: bytes) -> set[str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return set()
    return set(found) if isinstance(found, dict) else set()
