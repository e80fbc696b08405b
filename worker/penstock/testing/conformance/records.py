"""Records that the tests of SQL stores write, and what must be there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from penstock.stores.contract import SqlStore
from penstock.stores.states import Row
from penstock.wire.ids import id_from_key
from penstock.wire.records import Embedding, LogEvent, Message, StreamChunk

START_US = 1_750_000_000_000_000


class Counts(NamedTuple):
    """A session's counters, as the backend keeps them."""

    messages: int
    first_at_us: int
    last_at_us: int
    last_id: bytes


class Backend(NamedTuple):
    """One place of a backend: the store under test, and the same place seen past it."""

    store: SqlStore
    messages: Callable[[], Sequence[Message]]
    logs: Callable[[], Sequence[LogEvent]]
    counts: Callable[[], dict[str, Counts]]
    chunks: Callable[[], Sequence[tuple[bytes, int, str]]]
    """Stream, place and text of each."""
    states: Callable[[], Sequence[Row]]
    """In any order; also those that are deleted."""
    words: Callable[[], Sequence[str]] = tuple
    """What the index of words holds, of each message in it. Empty where there is none."""


def message(number: int, session: str = "s", **fields: Any) -> Message:
    """The message with that number: always the same id and time."""
    return Message(id_from_key(f"m{number}"), START_US + number, session, "user", f"text {number}", **fields)


def log(number: int, **fields: Any) -> LogEvent:
    return LogEvent(id_from_key(f"l{number}"), START_US + number, **{"level": 20, "event": "step", **fields})


def chunk(seq: int, text: str = "tok") -> StreamChunk:
    return StreamChunk(id_from_key(f"c{seq}"), START_US, "s", "assistant", id_from_key("stream"), seq, 1, text)


def embedding() -> Embedding:
    return Embedding(id_from_key("e"), START_US, "docs", "key", b"\0\0\0\0")


def counted(messages: Sequence[Message]) -> dict[str, Counts]:
    """The counters that *messages*, all different, must lead to."""
    sessions: dict[str, list[Message]] = {}
    for each in messages:
        sessions.setdefault(each.session_id, []).append(each)
    return {
        session: Counts(
            len(all_),
            min(each.created_at_us for each in all_),
            *max((each.created_at_us, each.id) for each in all_),
        )
        for session, all_ in sessions.items()
    }
