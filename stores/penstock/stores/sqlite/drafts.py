"""Messages made ready to be inserted, where they are handed over and not in the thread that writes the file.

The thread is what a backlog waits for. What is done here is done while SQLite works on the batch before, and while the
records are at hand: 1.2 us a message that the thread no longer has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, NamedTuple

from penstock.stores.search import Span, spans
from penstock.stores.sessions import growth
from penstock.stores.soundness import is_plain
from penstock.stores.sqlite.bulk import Rows, laid
from penstock.wire.records import Message

_SESSION = Message._fields.index("session_id")
_METADATA = Message._fields.index("metadata")

_session_of = itemgetter(_SESSION)

_STATEMENTS = (
    ("insert_plain_message", _METADATA),
    ("insert_message_with_metadata", _METADATA + 1),
    ("insert_message", len(Message._fields)),
)
"""The statements that insert messages, and how many fields each takes."""


class Draft(NamedTuple):
    """What one statement inserts."""

    statement: str
    """Its name."""
    rows: Rows
    """With the ids of the sessions in place of their numbers."""
    runs: Collection[tuple[str, int]]
    """The sessions in the order of the rows, and how many rows each has."""


class MessageRows(NamedTuple):
    """What is written of some messages if all of them are new."""

    spans: list[Span]
    """When they were created."""
    sessions: dict[str, list[Any]]
    """What they add to their sessions (`growth`)."""
    drafts: list[Draft]


def rows_of(messages: Sequence[Message], *, are_plain: bool = False) -> MessageRows:
    """The rows of *messages*, those of a session together; *are_plain* where all are known to be (`is_plain`).

    SQLite then finds the place in the index of sessions once for each session, and what is read together lies together.
    """
    messages = sorted(messages, key=_session_of)
    short = messages if are_plain else [message for message in messages if is_plain(message)]
    whole = [] if len(short) == len(messages) else [message for message in messages if not is_plain(message)]
    with_metadata = [message for message in short if message[_METADATA] is not None]
    plain = [message for message in short if message[_METADATA] is None] if with_metadata else short
    return MessageRows(
        spans([message[1] for message in messages]),
        growth(messages),
        [
            Draft(statement, laid(some, width), Counter(map(_session_of, some)).items())
            for (statement, width), some in zip(_STATEMENTS, (plain, with_metadata, whole), strict=True)
            if some
        ],
    )


def numbered(draft: Draft, numbers: Mapping[str, int]) -> Rows:
    """The rows of *draft* with the numbers of the sessions in place of their ids."""
    width, values = draft.rows.width, draft.rows.values.copy()
    values[_SESSION::width] = list(chain.from_iterable(repeat(numbers[session], rows) for session, rows in draft.runs))
    return Rows(width, values)
