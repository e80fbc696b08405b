"""What was written since the file was made: appended, synced, and read by every process that has it open.

A header of a generation, then entries: size, checksum, rows. A crash can leave nothing worse behind than an entry that
is cut off, which nobody was told of, and which the next one overwrites. Everything here happens under the lock.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from penstock.stores.errors import StoreUnavailable
from penstock.stores.syncing import write_whole

_MAGIC = b"penstock key-values 1\n"
_HEADER = struct.Struct(f"<{len(_MAGIC)}sQ")
_ENTRY = struct.Struct("<II")


class Journal:
    """See the module. It remembers how far it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self.generation = 0
        """Rises whenever the file is made anew. 0: there is none yet."""
        self.size = 0
        """Bytes up to the end of its last whole entry."""

    def catch_up(self) -> tuple[bool, dict[bytes, bytes]]:
        """Whether it has begun anew since it was read last, and the rows written since then, by key.

        Raises:
            StoreUnavailable: It is damaged.
        """
        anew = self._open_current()
        if self._file is None:
            return anew, {}
        self._file.seek(self.size)
        return anew, self._parsed(self._file.read())

    def append(self, rows: Mapping[bytes, bytes]) -> None:
        """Make *rows* durable, all or none."""
        body = msgpack.packb(list(rows.items()))
        entry = _ENTRY.pack(len(body), zlib.crc32(body)) + body
        try:
            self._file.seek(self.size)
            self._file.truncate()  # of one that is cut off
            _write_all(self._file, entry)
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self.size)
            raise
        self.size += len(entry)

    def begin(self, generation: int) -> None:
        """Begin anew, empty."""
        self.close()
        write_whole(self._path, _HEADER.pack(_MAGIC, generation))

    def close(self) -> None:
        """Close it, and forget how far it was read."""
        file, self._file = self._file, None
        self.generation = self.size = 0
        if file is not None:
            file.close()

    def _open_current(self) -> bool:
        """Open what has the name now. Returns whether it is another file than before."""
        try:
            known = self._path.stat()
        except FileNotFoundError:
            was_open = self._file is not None
            self.close()
            return was_open
        if self._file is not None and os.path.samestat(known, os.fstat(self._file.fileno())):
            return False
        self.close()
        self._file = self._path.open("r+b", buffering=0)
        header = self._file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            self.close()
            raise StoreUnavailable(f"{self._path} is no journal that this release can read")
        self.generation, self.size = _HEADER.unpack(header)[1], _HEADER.size
        return True

    def _parsed(self, data: bytes) -> dict[bytes, bytes]:
        rows: dict[bytes, bytes] = {}
        at = 0
        while at + _ENTRY.size <= len(data):
            size, checksum = _ENTRY.unpack_from(data, at)
            end = at + _ENTRY.size + size
            body = data[at + _ENTRY.size : end]
            if not size or end > len(data) or zlib.crc32(body) != checksum:
                self._refuse_damage(data, at, end)
                break
            rows.update(msgpack.unpackb(body))
            at = end
        self.size += at
        return rows

    def _refuse_damage(self, data: bytes, at: int, end: int) -> None:
        """An entry that is cut off ends the file; after a power loss there may be zeros in its place."""
        if end < len(data) and data[at:].strip(b"\0"):
            raise StoreUnavailable(
                f"{self._path} is damaged at byte {self.size + at:,}; what stands behind it may still be good: "
                f"keep a copy, restore it from a backup, or cut it off there"
            )


def _write_all(file: Any, entry: bytes) -> None:
    """A disk that is nearly full takes a part without an error; only the next write is told."""
    left = memoryview(entry)
    while left:
        left = left[file.write(left) :]
