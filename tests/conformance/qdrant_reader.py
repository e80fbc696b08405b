"""Reads Qdrant's engine round the store, and gives a store a folder where an fsync costs nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import qdrant_edge

from penstock.testing.conformance.vector_records import Row

_MEMORY = Path("/dev/shm")  # noqa: S108 - a store flushes at each write, and each example of a property makes a collection


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder that is gone afterwards, in memory where the system has such a place."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def read_points(shard: Path) -> list[Any]:
    """Every point of a shard that others have open, from a copy of what has been flushed: its log stays out."""
    if not shard.exists():
        return []
    with quick_folder() as folder:
        copy = shutil.copytree(
            shard, folder / "copy", ignore=shutil.ignore_patterns("wal"), copy_function=_copy_with_holes
        )
        opened = qdrant_edge.EdgeShard.load(str(copy))
        request = qdrant_edge.ScrollRequest(limit=100_000, with_payload=True, with_vector=True)
        points, _ = opened.scroll(request)
        opened.close()
    return points


def _copy_with_holes(source: str, target: str) -> None:
    """The engine makes files of 32 MB, of which it uses some KB."""
    with Path(source).open("rb") as read, Path(target).open("wb") as write:
        os.truncate(write.fileno(), os.fstat(read.fileno()).st_size)
        at = 0
        with suppress(OSError):  # there is no data behind
            while True:
                at = os.lseek(read.fileno(), at, os.SEEK_DATA)
                end = os.lseek(read.fileno(), at, os.SEEK_HOLE)
                os.pwrite(write.fileno(), os.pread(read.fileno(), end - at, at), at)
                at = end


def read_collection(shard: Path) -> dict[str, Row]:
    """Every vector by key, tombstones left out; empty without a shard. Fails when a key is there twice."""
    points = read_points(shard)
    assert len({each.payload["key"] for each in points}) == len(points), "a key is stored twice"
    return {
        each.payload["key"]: Row(
            each.vector.get("penstock") or each.vector["penstock_unit"],
            each.payload.get("text"),
            orjson.loads(each.payload.get("metadata", "{}")),
            each.payload["version"],
        )
        for each in points
        if each.vector
    }
