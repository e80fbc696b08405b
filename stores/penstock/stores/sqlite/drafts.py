"""Messages made ready to be inserted, where they are handed over and not in the thread that writes the file.

The thread is what a backlog waits for. What is done here is done while SQLite works on the batch before, and while the
records are at hand: 1.0 us a message that the thread no longer has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from penstock.stores.sessions import growth
from penstock.stores.soundness import is_plain
from penstock.stores.sqlite.bulk import Rows, laid
from penstock.wire.records import Message

_SESSION = Message._fields.index("session_id")
_METADATA = Message._fields.index("metadata")

_session_of = itemgetter(_SESSION)

_STATEMENTS: tuple[tuple[str, Callable[[Message], Any]], ...] = (
    ("insert_plain_message", itemgetter(slice(_METADATA))),
    ("insert_message_with_metadata", itemgetter(slice(_METADATA + 1))),
    ("insert_message", itemgetter(slice(None))),
)
"""The statements that insert messages, and the fields that each takes."""


class MessageRows(NamedTuple):
    """What is written of some messages if all of them are new."""

    times: list[int]
    """When each was created."""
    sessions: dict[str, list[Any]]
    """What they add to their sessions (`growth`)."""
    inserts: list[tuple[str, Rows]]
    """Names of statements, and what they take, but for the sessions: the ids in place of the numbers."""


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
        [message[1] for message in messages],
        growth(messages),
        [
            (name, laid(list(map(take, some))))
            for (name, take), some in zip(_STATEMENTS, (plain, with_metadata, whole), strict=True)
            if some
        ],
    )


def numbered(rows: Rows, numbers: dict[str, int]) -> Rows:
    """*rows* with the numbers of the sessions in place of their ids."""
    values = rows.values.copy()
    values[_SESSION :: rows.width] = map(numbers.__getitem__, rows.values[_SESSION :: rows.width])
    return Rows(rows.width, values)
