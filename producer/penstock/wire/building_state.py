"""State records made from what a caller gives: checked, normalised, with a stamp. The rules are those of `building`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import RisingClock, StampClock, given_us, new_id, parse_id, to_us
from penstock.wire.records import AgentState, Context, KeyValue, MessageDeletion, Task, TaskStatus
from penstock.wire.text import clean_id, clean_text, dump_object, dump_value

DEFAULT_NAMESPACE = "default"
"""Of key-values whose caller gives none."""


class StateBuilder:
    """Makes the state records of one producer.

    Every method raises `InvalidRecord`, which names the field, the value and what would be accepted.
    """

    def __init__(self, clock: RisingClock, stamps: StampClock) -> None:
        self._clock = clock
        self.stamps = stamps

    def task(
        self,
        *,
        task_id: str,
        status: str = "pending",
        agent_id: str | None = None,
        task_type: str | None = None,
        priority: str | None = None,
        enabled: bool = True,
        description: str | None = None,
        data: Any = None,
        created_at: Any = None,
        **course: Any,
    ) -> Task:
        """A task as a whole. *course* are the fields that a change of status has too."""
        fields = _Fields()
        return Task(
            *self._head(created_at),
            fields.name("task_id", task_id),
            fields.name("status", status),
            fields.optional(clean_id, "agent_id", agent_id),
            fields.optional(clean_id, "task_type", task_type),
            fields.optional(clean_id, "priority", priority),
            _flag("enabled", enabled),
            fields.optional(clean_text, "description", description),
            fields.json(dump_object, "data", data),
            **_course(fields, **course),
            normalised=fields.normalised,
        )

    def task_status(self, *, task_id: str, status: str, created_at: Any = None, **course: Any) -> TaskStatus:
        """A change of a task's status."""
        fields = _Fields()
        return TaskStatus(
            *self._head(created_at),
            fields.name("task_id", task_id),
            fields.name("status", status),
            **_course(fields, **course),
            normalised=fields.normalised,
        )

    def deleted_task(self, task_id: str) -> Task:
        """What remains of a deleted task."""
        head = self._head(None)
        return Task(*head, clean_id("task_id", task_id), "deleted", deleted_at_us=head[1])

    def agent_state(
        self,
        *,
        agent_id: str,
        state: str = "idle",
        role: str | None = None,
        goal: str | None = None,
        backstory: str | None = None,
        last_task_id: str | None = None,
        stats: Any = None,
        created_at: Any = None,
    ) -> AgentState:
        """An agent's state as a whole."""
        fields = _Fields()
        return AgentState(
            *self._head(created_at),
            fields.name("agent_id", agent_id),
            fields.name("state", state),
            fields.optional(clean_id, "role", role),
            fields.optional(clean_text, "goal", goal),
            fields.optional(clean_text, "backstory", backstory),
            fields.optional(clean_id, "last_task_id", last_task_id),
            fields.json(dump_object, "stats", stats),
            normalised=fields.normalised,
        )

    def deleted_agent_state(self, agent_id: str) -> AgentState:
        """What remains of a deleted state."""
        head = self._head(None)
        return AgentState(*head, clean_id("agent_id", agent_id), "deleted", deleted_at_us=head[1])

    def context(
        self,
        *,
        context_id: str,
        data: Any,
        agent_id: str | None = None,
        session_id: str | None = None,
        expires_at: Any = None,
        ttl_s: float | None = None,
        created_at: Any = None,
    ) -> Context:
        """A context as a whole."""
        fields, head = _Fields(), self._head(created_at)
        return Context(
            *head,
            fields.name("context_id", context_id),
            fields.json(dump_object, "data", data),
            fields.optional(clean_id, "agent_id", agent_id),
            fields.optional(clean_id, "session_id", session_id),
            _expiry(head[1], expires_at, ttl_s),
            normalised=fields.normalised,
        )

    def deleted_context(self, context_id: str) -> Context:
        """What remains of a deleted context."""
        head = self._head(None)
        return Context(*head, clean_id("context_id", context_id), deleted_at_us=head[1])

    def key_value(
        self,
        *,
        key: str,
        value: Any,
        namespace: str = DEFAULT_NAMESPACE,
        expires_at: Any = None,
        ttl_s: float | None = None,
        created_at: Any = None,
    ) -> KeyValue:
        """A value under its key."""
        fields, head = _Fields(), self._head(created_at)
        return KeyValue(
            *head,
            fields.name("namespace", namespace),
            fields.name("key", key),
            fields.always_json("value", value),
            _expiry(head[1], expires_at, ttl_s),
            normalised=fields.normalised,
        )

    def deleted_key_value(self, key: str, namespace: str) -> KeyValue:
        """What remains of a deleted key."""
        head = self._head(None)
        return KeyValue(*head, clean_id("namespace", namespace), clean_id("key", key), deleted_at_us=head[1])

    def message_deletion(self, session_id: str, message_id: Any = None) -> MessageDeletion:
        """The deletion of one message, or of a whole session."""
        deleted = None if message_id is None else parse_id(message_id, "message_id")
        return MessageDeletion(new_id(), self._clock.now_us(), clean_id("session_id", session_id), deleted)

    def _head(self, created_at: Any) -> tuple[bytes, int, bytes]:
        at = self._clock.now_us() if created_at is None else given_us(created_at, "created_at")
        return new_id(), at, self.stamps.next()


class _Fields:
    """Cleans fields, and remembers whether any was changed by it."""

    def __init__(self) -> None:
        self.normalised = False

    def name(self, field: str, value: str) -> str:
        clean = clean_id(field, value)
        self.normalised |= clean is not value
        return clean

    def optional(self, check: Callable[[str, object], str], field: str, value: str | None) -> str | None:
        if value is None:
            return None
        clean = check(field, value)
        self.normalised |= clean is not value
        return clean

    def json(self, dump: Callable[[str, object], tuple[bytes, bool]], field: str, value: Any) -> bytes | None:
        return None if value is None else self._dumped(dump(field, value))

    def always_json(self, field: str, value: Any) -> bytes:
        return self._dumped(dump_value(field, value))

    def _dumped(self, dumped: tuple[bytes, bool]) -> bytes:
        encoded, dirty = dumped
        self.normalised |= dirty
        return encoded


def _course(
    fields: _Fields,
    *,
    last_run_at: Any = None,
    next_run_at: Any = None,
    started_at: Any = None,
    completed_at: Any = None,
    duration_s: float | None = None,
    result: Any = None,
    error: str | None = None,
) -> dict[str, Any]:
    """How a task went: the fields that follow its status."""
    return {
        "last_run_at_us": _moment("last_run_at", last_run_at),
        "next_run_at_us": _moment("next_run_at", next_run_at),
        "started_at_us": _moment("started_at", started_at),
        "completed_at_us": _moment("completed_at", completed_at),
        "duration_s": None if duration_s is None else _seconds("duration_s", duration_s),
        "result": fields.json(dump_value, "result", result),
        "error": fields.optional(clean_text, "error", error),
    }


def _moment(field: str, value: Any) -> int | None:
    return None if value is None else given_us(value, field)


def _seconds(field: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max:
        return float(value)
    raise InvalidRecord(field, value, "a finite number of seconds, 0 or more, is needed")


def _flag(field: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidRecord(field, value, "True or False is needed")


def _expiry(now_us: int, expires_at: Any, ttl_s: float | None) -> int | None:
    if ttl_s is None:
        return _moment("expires_at", expires_at)
    if expires_at is not None:
        raise InvalidRecord("ttl_s", ttl_s, "give either ttl_s or expires_at")
    return to_us(now_us + round(_seconds("ttl_s", ttl_s) * 1_000_000), "ttl_s")
