"""A file that is whole under its name, or not there."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside *path* to write to. Where the block ends well, what it wrote is on disk under *path*; otherwise
    *path* is what it was. What is no file, such as a pipe, is written to as it is."""
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():
        yield path
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()  # where it cannot be written, that is an OSError, and not what a database makes of it
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def opened(path: Path, named: Path) -> Iterator[IO[bytes]]:
    """*path*, opened to be written; in gzip where *named*, the name that it will get, ends in `.gz`."""
    with path.open("wb") as raw:
        if named.suffix != ".gz":
            yield raw
            return
        # No name and no time in the header: equal stores give equal files.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def _sync(path: Path) -> None:
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR
    with suppress(PermissionError):  # a folder, where these cannot be opened
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
