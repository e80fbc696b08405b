"""A store as lines of JSON: a header, the records of each table, and an end that tells how many there were."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import orjson

from penstock.moving.lines import line_of, schema
from penstock.moving.walks import Walkable, pages_of
from penstock.stores.walking import TABLES
from penstock.wire.records import Record

FORMAT = 1
"""Of the file. A reader takes every lower one."""

HEADER = "penstock_export"
END = "end"

_RECORDS = {table.record for table in TABLES.values()}


def header_of(what: str, names: Sequence[str], records: Iterable[type[Record]]) -> bytes:
    """The first line: *what* the file has, by their *names*, and the *records* in them. Nothing in it tells when or
    where, so that equal stores give equal files."""
    told = {HEADER: FORMAT, "release": version("penstock"), what: names, "schema": schema(records)}
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def end_of(counts: Mapping[str, int]) -> bytes:
    """The last line, without which a file is cut off."""
    return orjson.dumps({"kind": END, "records": counts}, option=orjson.OPT_APPEND_NEWLINE)


async def lines_of(source: Walkable, tables: Sequence[str], tell: Callable[[str, int], Any]) -> AsyncIterator[bytes]:
    """The file, in pieces of whole lines. *tell* is called with a table and how many of its records have passed."""
    counts = dict.fromkeys(tables, 0)
    yield header_of("tables", tables, _RECORDS)
    for table in tables:
        async for page in pages_of(source, table):
            yield b"".join(map(line_of, page))
            counts[table] += len(page)
            tell(table, counts[table])
    yield end_of(counts)
