"""The index of words of a file: what a write notes for it, how it is filled, and what is asked of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.stores.pending import Pending, reaching
from penstock.stores.schemas import FIRST_WITH_SEARCH
from penstock.stores.search import SLICE_CHARS, Search, Span, Term, words
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.sqlite.schema import schema_version

_SQL = statements("penstock.stores.sqlite")


def matched(search: Search) -> Mapping[str, str]:
    """*search* in FTS5's language. Words hold letters and digits alone, so what is quoted needs no escape."""
    match = f"({' AND '.join(map(_quoted, search.wanted))})"
    if search.unwanted:
        match += f" NOT ({' OR '.join(map(_quoted, search.unwanted))})"
    return {"match": match}


def _quoted(term: Term) -> str:
    return f'"{" ".join(term.words)}"{" *" if term.prefix else ""}'


def note(connection: sqlite3.Connection, written: Iterable[Span]) -> None:
    """Note in the transaction of a write when the messages that it brought were created."""
    for span in written:
        values = {"since": span.since_us, "until": span.until_us}
        if not connection.execute(_SQL["extend_pending_search"], values).rowcount:
            connection.execute(_SQL["add_pending_search"], values)


def remove_left_over(connection: sqlite3.Connection, limit: int) -> int:
    """Remove some words of messages that are gone. Returns of how many."""
    return _remove(connection, [no for (no,) in connection.execute(_SQL["left_over_entries"], (limit,)).fetchall()])


def refresh(connection: sqlite3.Connection, _numbers: SessionNumbers, *, limit: int) -> int:
    """See `SqlUpkeep.refresh_search`."""
    done, is_over = remove_left_over(connection, limit), False
    while done < limit and not is_over:
        pending = [Pending(*row) for row in connection.execute(_SQL["pending_search"])]
        if not pending:
            break
        # At least two: the first of them was the last of the slice before.
        looked_at, is_over = _work_off(connection, pending, max(limit - done, 2))
        done += looked_at
    return done


def reindex(connection: sqlite3.Connection, _numbers: SessionNumbers) -> None:
    """See `SqlUpkeep.reindex`."""
    if schema_version(connection) >= FIRST_WITH_SEARCH:
        connection.execute(_SQL["reindex"])


def _work_off(connection: sqlite3.Connection, pending: Sequence[Pending], limit: int) -> tuple[int, bool]:
    """Index some messages of the last of the spans, and those that it runs into.

    Returns how many were looked at, and whether these are enough of a slice.
    """
    whole, parts = reaching(pending)
    values = {"since": whole.since_us, "until": whole.until_us, "until_id": whole.until_id, "limit": limit}
    rows, is_cut = _of_bounded_text(connection.execute(_SQL["unindexed"], values))
    is_over = is_cut or len(rows) == limit
    _index(connection, rows)
    connection.executemany(_SQL["remove_pending_search"], [(no,) for no in parts])
    if is_over:
        message_id, at_us = rows[-1][:2]
        connection.execute(_SQL["keep_pending_search"], (whole.since_us, at_us, message_id))
    return len(rows), is_over


def _of_bounded_text(found: Iterable[Any]) -> tuple[list[Any], bool]:
    """Those of one slice, two at the least, and whether it was cut there. What lies behind is not read."""
    rows: list[Any] = []
    chars = 0
    for row in found:
        rows.append(row)
        chars += len(row[5] or "")
        if chars >= SLICE_CHARS and len(rows) > 1:
            return rows, True
    return rows, False


def _index(connection: sqlite3.Connection, rows: Sequence[Any]) -> None:
    stale = [row for row in rows if not row[4]]
    _remove(connection, [row[3] for row in stale if row[3] is not None])
    (last,) = connection.execute(_SQL["last_entry"]).fetchone()
    entries: list[tuple[Any, ...]] = []
    texts: list[tuple[int, str]] = []
    for message_id, at_us, version, _, _, content in stale:
        if found := words(content or ""):
            last += 1
            entries.append((last, message_id, version, at_us))
            texts.append((last, " ".join(found)))
    connection.executemany(_SQL["add_entry"], entries)
    connection.executemany(_SQL["add_words"], texts)


def _remove(connection: sqlite3.Connection, numbers: Sequence[int]) -> int:
    gone = [(no,) for no in numbers]
    connection.executemany(_SQL["remove_words"], gone)
    connection.executemany(_SQL["remove_entry"], gone)
    return len(gone)
