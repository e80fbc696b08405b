"""The calls for messages and log events, beside those for state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from penstock.producer.state_calls import R, StateCalls
from penstock.wire import building
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import record_of, trimmed
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
        embed: bool | str = False,
        **fields: Any,
    ) -> R:
        """Send one message of a session.

        Messages of one session are stored in the order of their calls. With an *id* of your own, two
        messages with the same id are the same message. *fields* are those of `wire.building.MESSAGE_FIELDS`.

        With *embed* its content also goes to the vector store, under the message's id, in the collection of that name
        or in `messages`; the worker's embedder makes the vector. The receipt is that of the message; what one of the
        two stores lacks, `penstock verify` finds. Only producers have it.
        """
        if embed:
            return self._send_embedded((session_id, role, content), metadata, id, created_at, fields, embed)
        array = building.message_array(self._clock, session_id, role, content, metadata, id, created_at, fields)
        return self._send_array(array, "messages", array[3])

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
        array = building.log_array(self._clock, level, event, message, agent_id, task_id, data, id, created_at)
        agent, task = array[6:8]
        return self._send_array(trimmed(array), "logs", task or agent or "")

    def _send_embedded(  # noqa: PLR0917 - as they come
        self,
        said: tuple[str, str, str | None],  # noqa: ARG002 - those of a producer
        metadata: Mapping[str, Any] | None,  # noqa: ARG002
        record_id: Any,  # noqa: ARG002
        created_at: Any,  # noqa: ARG002
        fields: dict[str, Any],  # noqa: ARG002
        embed: bool | str,
    ) -> R:
        """A message and its vector, where there is a vector store."""
        raise InvalidRecord("embed", embed, "only a producer sends vectors; see penstock.direct.semantic")

    def _send_array(self, array: tuple[Any, ...], lane: str, key: str) -> R:
        """`_send` of the record that a builder made as an array."""
        return self._send(record_of(array), lane, key)
