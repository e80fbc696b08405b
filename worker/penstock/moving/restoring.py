"""The lines of an export back into a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from penstock.moving.exports import END, FORMAT, HEADER
from penstock.moving.lines import BadLine, record_of
from penstock.moving.loading import Loader
from penstock.stores.walking import TABLES
from penstock.wire.errors import PenstockError
from penstock.wire.records import Embedding, EmbeddingDeletion, Record

_TABLE_OF = {table.record: table.name for table in TABLES.values()}


class TooNew(PenstockError):
    """The file has a format that this release does not read."""


def is_export(line: bytes) -> bool:
    """Whether *line*, the first of a file, begins an export."""
    return line.startswith(b'{"%s":' % HEADER.encode())


def is_of_vectors(line: bytes) -> bool:
    """Whether *line*, with which an export begins, is that of an export of vectors."""
    try:
        return "collections" in orjson.loads(line)
    except (ValueError, TypeError):
        return False


def read_header(line: bytes) -> None:
    """Look at the first line of an export.

    Raises:
        TooNew: Its format.
    """
    try:
        told = orjson.loads(line)[HEADER]
    except (ValueError, TypeError, KeyError):
        told = None
    if not isinstance(told, int) or told > FORMAT:
        raise TooNew(f"the export has format {told}, this release reads up to {FORMAT}; upgrade penstock here first")


async def restore(numbered: Iterable[tuple[int, bytes]], name: str, loader: Loader) -> None:
    """Write the records of *numbered*, the lines of an export with their numbers, the header among them.

    Raises:
        TooNew: The format.
    """
    seen: Counter[str] = Counter()
    ended = False
    number = 0
    for number, line in numbered:
        place = f"{name}:{number}"
        if is_export(line):
            read_header(line)
        elif line.startswith(b'{"kind":"%s"' % END.encode()):
            ended = True
            _compare(loader, place, line, seen)
            seen.clear()
        elif line.strip():
            ended = False
            await _record(loader, place, line, seen)
    if not ended:
        loader.refuse(f"{name}:{number + 1}", "the file ends before its last line; it is cut off")


async def _record(loader: Loader, place: str, line: bytes, seen: Counter[str]) -> None:
    try:
        record = record_of(line)
    except BadLine as exc:
        loader.refuse(place, str(exc))
    else:
        seen[_place_of(record)] += 1
        await loader.add(place, record)


def _place_of(record: Record) -> str:
    """The table or collection that counts *record*."""
    return record.collection if isinstance(record, Embedding | EmbeddingDeletion) else _TABLE_OF[type(record)]


def _compare(loader: Loader, place: str, line: bytes, seen: Mapping[str, int]) -> None:
    """Whether as many records were read as were written."""
    try:
        told: dict[str, Any] = orjson.loads(line)["records"]
    except (ValueError, KeyError):
        told = {}
    for table, count in told.items():
        if count != seen.get(table, 0):
            loader.refuse(place, f"{table}: {count:,} records were written, {seen.get(table, 0):,} are here")
