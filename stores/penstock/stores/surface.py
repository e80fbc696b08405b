"""Records as they are shown: ids as text, times as `datetime`, JSON as dicts. The same for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.stores.rows import Session, StoredLog, StoredMessage
from penstock.wire.building import LEVELS
from penstock.wire.ids import format_id, from_us
from penstock.wire.records import LogEvent, Message
from penstock.wire.text import load_object

_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}


def stored_message(record: Message) -> StoredMessage:
    """*record* as it is read. A message that was never updated was last updated when it was made."""
    shown = record._asdict()
    created, updated, deleted = (shown.pop(name) for name in ("created_at_us", "updated_at_us", "deleted_at_us"))
    shown.update(
        id=format_id(record.id),
        metadata=load_object(record.metadata),
        created_at=from_us(created),
        updated_at=from_us(created if updated is None else updated),
        deleted_at=None if deleted is None else from_us(deleted),
        state=record.state or "complete",
        normalised=bool(record.normalised),
    )
    return StoredMessage(**shown)


def stored_log(record: LogEvent) -> StoredLog:
    """*record* as it is read."""
    return StoredLog(
        id=format_id(record.id),
        created_at=from_us(record.created_at_us),
        level=_LEVEL_NAMES.get(record.level, str(record.level)),
        event=record.event,
        message=record.message,
        agent_id=record.agent_id,
        task_id=record.task_id,
        data=load_object(record.data),
        normalised=bool(record.normalised),
    )


def session(row: Sequence[Any]) -> Session:
    """A session's row, as `sessions.growth` makes it, as it is read."""
    session_id, user_id, platform, count, first_us, last_us, last_id = row
    return Session(
        id=session_id,
        user_id=user_id,
        platform=platform,
        message_count=count,
        first_message_at=from_us(first_us),
        last_message_at=from_us(last_us),
        last_message_id=format_id(last_id),
    )
