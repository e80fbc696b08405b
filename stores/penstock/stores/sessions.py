"""What messages add to their sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.wire.records import Message


def growth(messages: Iterable[Message], into: dict[str, list[Any]] | None = None) -> dict[str, list[Any]]:
    """Count *messages*, each of which must be new, *into* the rows of their sessions.

    A row is `[session_id, user_id, platform, message_count, first_at_us, last_at_us, last_id]`. Deleted messages have
    their time, and are not counted. The user and the platform are those of the first message that named one; the
    greater id is the later one of a microsecond.
    """
    grown: dict[str, list[Any]] = {} if into is None else into
    for message in messages:
        # By place, not by name: this runs once for each message that is ever stored.
        message_id, at, session = message[:3]
        live = message.deleted_at_us is None
        row = grown.get(session)
        if row is None:
            grown[session] = [session, message.user_id, message.platform, int(live), at, at, message_id]
            continue
        row[3] += live
        if at > row[5] or (at == row[5] and message_id > row[6]):
            row[5], row[6] = at, message_id
        elif at < row[4]:
            row[4] = at
        if row[1] is None:
            row[1] = message.user_id
        if row[2] is None:
            row[2] = message.platform
    return grown
