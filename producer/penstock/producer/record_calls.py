"""The calls for messages and log events, beside those for state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from penstock.producer.state_calls import R, StateCalls
from penstock.wire import building
from penstock.wire.ids import RisingClock


class RecordCalls(StateCalls[R]):
    """What a producer, a store that is used directly and its transactions are called with."""

    _clock: RisingClock

    def message(
        self,
        *,
        session_id: str,
        role: str,
        content: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | UUID | bytes | None = None,  # noqa: A002 - the field's name
        created_at: datetime | int | None = None,
        **fields: Any,
    ) -> R:
        """Send one message of a session.

        Messages of one session are stored in the order of their calls. With an *id* of your own, two
        messages with the same id are the same message. *fields* are those of `wire.building.MESSAGE_FIELDS`.
        """
        record = building.message(
            self._clock,
            session_id=session_id,
            role=role,
            content=content,
            metadata=metadata,
            id=id,
            created_at=created_at,
            **fields,
        )
        return self._send(record, "messages", record.session_id)

    def log(
        self,
        *,
        level: str | int,
        event: str,
        message: str | None = None,
        agent_id: str | None = None,
        task_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        id: str | UUID | bytes | None = None,  # noqa: A002 - the field's name
        created_at: datetime | int | None = None,
    ) -> R:
        """Send one log event. Events of one task, else of one agent, else of this sender keep their order."""
        record = building.log_event(
            self._clock,
            level=level,
            event=event,
            message=message,
            agent_id=agent_id,
            task_id=task_id,
            data=data,
            id=id,
            created_at=created_at,
        )
        return self._send(record, "logs", record.task_id or record.agent_id or "")
