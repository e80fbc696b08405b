"""The calls for state: tasks, agents' states, contexts, key-values. Each replaces what was there, if it is newer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from penstock.wire.building_state import DEFAULT_NAMESPACE, StateBuilder
from penstock.wire.errors import InvalidRecord
from penstock.wire.records import AgentState, Context, KeyValue, MessageDeletion, Record, Task, TaskStatus

R = TypeVar("R")
"""What a call returns."""


def key_value_order(record: KeyValue) -> str:
    """The ordering key of a key-value."""
    return f"{record.namespace}:{record.key}"


class StateCalls(ABC, Generic[R]):
    """Each call makes one record, checks it, and sends it the way that the class has.

    A record takes effect only if its stamp is higher than the stored one's. The stamps of one producer rise with its
    calls; those of several follow their wall clocks.
    """

    _states: StateBuilder

    @abstractmethod
    def _send(self, record: Record, lane: str, key: str) -> R:
        """Send *record*, after what was sent before it with the same *key*; an empty one is the sender's own."""

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
        data: Mapping[str, Any] | None = None,
        created_at: datetime | int | None = None,
        **course: Any,
    ) -> R:
        """Save one task as a whole. What is not given is empty afterwards.

        *course* are the fields of `task_status`: `last_run_at`, `next_run_at`, `started_at`, `completed_at`,
        `duration_s`, `result`, `error`.
        """
        record = self._states.task(
            task_id=task_id,
            status=status,
            agent_id=agent_id,
            task_type=task_type,
            priority=priority,
            enabled=enabled,
            description=description,
            data=data,
            created_at=created_at,
            **course,
        )
        return self._send_task(record)

    def task_status(
        self,
        *,
        task_id: str,
        status: str,
        last_run_at: datetime | int | None = None,
        next_run_at: datetime | int | None = None,
        started_at: datetime | int | None = None,
        completed_at: datetime | int | None = None,
        duration_s: float | None = None,
        result: Any = None,
        error: str | None = None,
    ) -> R:
        """Change a task's status. What is not given stays as it was; *result* is any JSON value.

        A task that was never saved comes to be with nothing but this; a deleted one stays deleted.
        """
        record = self._states.task_status(
            task_id=task_id,
            status=status,
            last_run_at=last_run_at,
            next_run_at=next_run_at,
            started_at=started_at,
            completed_at=completed_at,
            duration_s=duration_s,
            result=result,
            error=error,
        )
        return self._send_task(record)

    def delete_task(self, task_id: str) -> R:
        """Delete a task. A later save makes it anew; what was sent before this call does not bring it back."""
        return self._send_task(self._states.deleted_task(task_id))

    def agent_state(
        self,
        *,
        agent_id: str,
        state: str = "idle",
        role: str | None = None,
        goal: str | None = None,
        backstory: str | None = None,
        last_task_id: str | None = None,
        stats: Mapping[str, Any] | None = None,
    ) -> R:
        """Save the state of one agent as a whole. `archived` is the one state that counts as not active."""
        record = self._states.agent_state(
            agent_id=agent_id,
            state=state,
            role=role,
            goal=goal,
            backstory=backstory,
            last_task_id=last_task_id,
            stats=stats,
        )
        return self._send_agent_state(record)

    def delete_agent_state(self, agent_id: str) -> R:
        """Delete an agent's state. As for `delete_task`."""
        return self._send_agent_state(self._states.deleted_agent_state(agent_id))

    def context(
        self,
        *,
        context_id: str,
        data: Mapping[str, Any],
        agent_id: str | None = None,
        session_id: str | None = None,
        ttl_s: float | None = None,
        expires_at: datetime | int | None = None,
    ) -> R:
        """Save one context as a whole. After *ttl_s* seconds, or at *expires_at*, it is not there any more."""
        record = self._states.context(
            context_id=context_id,
            data=data,
            agent_id=agent_id,
            session_id=session_id,
            ttl_s=ttl_s,
            expires_at=expires_at,
        )
        return self._send_context(record)

    def delete_context(self, context_id: str) -> R:
        """Delete a context. As for `delete_task`."""
        return self._send_context(self._states.deleted_context(context_id))

    def key_value(
        self,
        *,
        key: str,
        value: Any,
        namespace: str = DEFAULT_NAMESPACE,
        ttl_s: float | None = None,
        expires_at: datetime | int | None = None,
    ) -> R:
        """Set the value under a key: anything that JSON has a word for. Expires as `context` does."""
        record = self._states.key_value(key=key, value=value, namespace=namespace, ttl_s=ttl_s, expires_at=expires_at)
        return self._send_key_value(record)

    def delete_key_value(self, key: str, namespace: str = DEFAULT_NAMESPACE) -> R:
        """Delete a key. As for `delete_task`."""
        return self._send_key_value(self._states.deleted_key_value(key, namespace))

    def delete_message(self, message_id: str | UUID | bytes, *, session_id: str, embed: bool | str = False) -> R:
        """Mark one message of a session as deleted. It stays, for those who ask for deleted ones too.

        With *embed*, as it was sent with, its vector is deleted as well, and does not stay; the receipt is the row's.
        """
        deletion = self._states.message_deletion(session_id, message_id)
        if embed:
            self._delete_embedded(message_id, embed)
        return self._send_deletion(deletion)

    def delete_session(self, session_id: str) -> R:
        """Remove a session and every message of it that was created before this call, also one that comes late.

        Messages created afterwards begin the session anew.
        """
        return self._send_deletion(self._states.message_deletion(session_id))

    def _delete_embedded(self, message_id: str | UUID | bytes, embed: bool | str) -> None:  # noqa: ARG002 - a producer's
        """Delete the vector of a message, where there is a vector store."""
        raise InvalidRecord("embed", embed, "only a producer sends vectors; see penstock.direct.semantic")

    def _send_task(self, record: Task | TaskStatus) -> R:
        return self._send(record, "state", f"task:{record.task_id}")

    def _send_agent_state(self, record: AgentState) -> R:
        return self._send(record, "state", f"agent:{record.agent_id}")

    def _send_context(self, record: Context) -> R:
        return self._send(record, "state", f"context:{record.context_id}")

    def _send_key_value(self, record: KeyValue) -> R:
        return self._send(record, "state", key_value_order(record))

    def _send_deletion(self, record: MessageDeletion) -> R:
        return self._send(record, "messages", record.session_id)
