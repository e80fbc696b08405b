"""The index of words of a database: what a write notes for it, how it is filled, and what is asked of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from penstock.stores.pending import Pending, reaching
from penstock.stores.postgres.bulk import columns, execute
from penstock.stores.search import SLICE_CHARS, Search, Term, needle, padded, spans, words
from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.postgres")

_FIRST_ROWS = 5


def matched(search: Search) -> Mapping[str, Any]:
    """*search* as a `tsquery`, which the index answers, and the phrases that are then looked for in what it finds.

    Words hold letters and digits alone, so what is quoted needs no escape.
    """
    tokens = [_token(word, is_prefix) for term in search.wanted for word, is_prefix in _words_of(term)]
    tokens += ["!" + _token(term.words[0], term.prefix) for term in search.unwanted if len(term.words) == 1]
    return {
        "tokens": " & ".join(tokens),
        "wanted": tuple(needle(term) for term in search.wanted if len(term.words) > 1),
        "unwanted": tuple(needle(term) for term in search.unwanted if len(term.words) > 1),
    }


def _words_of(term: Term) -> list[tuple[str, bool]]:
    return [*((word, False) for word in term.words[:-1]), (term.words[-1], term.prefix)]


def _token(word: str, is_prefix: bool) -> str:
    return f"'{word}':*" if is_prefix else f"'{word}'"


def spans_of(times: Collection[int]) -> Sequence[Any]:
    """What a write that brought messages of these *times* has to note, as columns."""
    return columns(spans(times)) or ([], [])


async def note(connection: Any, times: Collection[int]) -> None:
    """Note in the transaction of a write that it brought messages of these *times*."""
    await connection.execute(_SQL["note_search"], *spans_of(times))


async def forget(connection: Any, ids: Sequence[bytes]) -> None:
    """Remove the entries of messages that are removed in this transaction."""
    if await _is_shared(connection):
        await connection.execute(_SQL["remove_entries"], ids)


async def forget_sessions(connection: Any, upto: Sequence[Any]) -> None:
    """Remove the entries of those messages of sessions that are about to be removed, each up to a time."""
    if await _is_shared(connection):
        await execute(connection, _SQL["remove_entries_of_sessions"], upto)


async def look_for_left_over(connection: Any) -> None:
    """Have entries removed whose messages this transaction removes, however many they are."""
    if await _is_shared(connection):
        await connection.execute(_SQL["look_for_left_over"])


async def is_due(connection: Any) -> bool:
    """Whether there is something for `refresh` to do."""
    return bool(await connection.fetchval(_SQL["has_search"]) and await connection.fetchval(_SQL["any_pending_search"]))


async def refresh(connection: Any, *, limit: int) -> int:
    """See `SqlUpkeep.refresh_search`. One at a time: a second one waits, and goes on where the first one ends."""
    await connection.execute(_SQL["hold_search"])
    done, is_over = await _remove_left_over(connection, limit), False
    while done < limit and not is_over:
        pending = [Pending(*row) for row in await connection.fetch(_SQL["pending_search"])]
        if not pending:
            break
        # At least two: the first of them was the last of the slice before.
        looked_at, is_over = await _work_off(connection, pending, max(limit - done, 2))
        done += looked_at
    return done


async def reindex(connection: Any) -> None:
    """See `SqlUpkeep.reindex`."""
    if await connection.fetchval(_SQL["has_search"]):
        await connection.execute(_SQL["reindex"])


async def _is_shared(connection: Any) -> bool:
    """Whether there is an index, which nobody then fills until the commit."""
    return bool(await connection.fetchval(_SQL["share_search"], column=1))


async def _work_off(connection: Any, pending: Sequence[Pending], limit: int) -> tuple[int, bool]:
    """Index some messages of the last of the spans, and those that it runs into.

    Returns how many were looked at, and whether these are enough of a slice.
    """
    whole, parts = reaching(pending)
    span = (whole.since_us, whole.until_us, whole.until_id)
    rows, is_cut = await _of_bounded_text(connection, span, limit)
    is_over = is_cut or len(rows) == limit
    await _index(connection, [row for row in rows if not row["is_current"]])
    await connection.execute(_SQL["remove_pending_search"], parts)
    if is_over:
        last = rows[-1]
        await connection.execute(_SQL["keep_pending_search"], whole.since_us, last["created_at"], last["id"])
    return len(rows), is_over


async def _of_bounded_text(connection: Any, span: tuple[int, int, bytes], limit: int) -> tuple[list[Any], bool]:
    """Those of one slice, two at the least, and whether it was cut there. The first few tell how many more fit."""
    found = await connection.cursor(_SQL["unindexed"], *span, limit)
    rows: list[Any] = await found.fetch(_FIRST_ROWS)
    while (chars := sum(len(row["content"] or "") for row in rows)) < SLICE_CHARS or len(rows) < 2:
        room = (SLICE_CHARS - chars) * len(rows) // max(chars, 1)
        more = await found.fetch(max(1, min(room, limit)))
        if not more:
            return rows, False
        rows += more
    return rows, True


async def _index(connection: Any, stale: Sequence[Any]) -> None:
    entries: list[tuple[Any, ...]] = []
    empty: list[bytes] = []
    for message_id, at_us, version, is_there, _, content in stale:
        if found := words(content or ""):
            entries.append((message_id, version, at_us, padded(found)))
        elif is_there:
            empty.append(message_id)
    await execute(connection, _SQL["write_entries"], entries)
    if empty:
        await connection.execute(_SQL["remove_entries"], empty)


async def _remove_left_over(connection: Any, limit: int) -> int:
    behind = await connection.fetchval(_SQL["left_over_behind"])
    if behind is None:
        return 0
    found = await connection.fetch(_SQL["entries_behind"], behind, limit)
    await connection.execute(_SQL["remove_entries"], [row["message_id"] for row in found if not row["is_right"]])
    if len(found) < limit:
        await connection.execute(_SQL["no_left_over"])
    else:
        await connection.execute(_SQL["left_over_until"], found[-1]["message_id"])
    return len(found)
