"""Records as they are shown: ids as text, times as `datetime`, JSON as dicts. The same for every backend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from penstock.stores.rows import (
    AgentStatistics,
    Session,
    StoredAgentState,
    StoredContext,
    StoredKeyValue,
    StoredLog,
    StoredMessage,
    StoredTask,
)
from penstock.wire.building import LEVELS
from penstock.wire.ids import format_id, from_us
from penstock.wire.records import AgentState, Context, KeyValue, LogEvent, Message, Task
from penstock.wire.text import load_object, load_value

_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}


def stored_message(record: Message) -> StoredMessage:
    """*record* as it is read. A message that was never updated was last updated when it was made.

    Field by field, which takes half the time of `_asdict`: it is most of what a page costs.
    """
    created = from_us(record.created_at_us)
    return StoredMessage(
        id=format_id(record.id),
        session_id=record.session_id,
        role=record.role,
        content=record.content,
        metadata=load_object(record.metadata),
        user_id=record.user_id,
        message_type=record.message_type,
        platform=record.platform,
        from_user_id=record.from_user_id,
        from_user_name=record.from_user_name,
        to_user_id=record.to_user_id,
        channel_id=record.channel_id,
        thread_id=record.thread_id,
        bot_user_id=record.bot_user_id,
        engine_session_id=record.engine_session_id,
        engine_namespace=record.engine_namespace,
        provider_session_id=record.provider_session_id,
        provider_type=record.provider_type,
        created_at=created,
        updated_at=created if record.updated_at_us is None else from_us(record.updated_at_us),
        deleted_at=_moment(record.deleted_at_us),
        state=record.state or "complete",
        version=record.version,
        normalised=bool(record.normalised),
    )


def stored_log(record: LogEvent) -> StoredLog:
    """*record* as it is read."""
    return StoredLog(
        id=format_id(record.id),
        created_at=from_us(record.created_at_us),
        level=level_name(record.level),
        event=record.event,
        message=record.message,
        agent_id=record.agent_id,
        task_id=record.task_id,
        data=load_object(record.data),
        normalised=bool(record.normalised),
    )


def level_name(level: int) -> str:
    """The lower-case name of *level*, or the number where it has none."""
    return _LEVEL_NAMES.get(level, str(level))


def session(row: Sequence[Any], last: Message | None = None) -> Session:
    """A session's row, as `sessions.growth` makes it, as it is read, with its *last* message where it was asked for."""
    session_id, user_id, platform, count, first_us, last_us, last_id = row
    return Session(
        id=session_id,
        user_id=user_id,
        platform=platform,
        message_count=count,
        first_message_at=from_us(first_us),
        last_message_at=from_us(last_us),
        last_message_id=format_id(last_id),
        last_message=None if last is None else stored_message(last),
    )


def stored_task(row: Task) -> StoredTask:
    """A task's row as it is read."""
    return StoredTask(
        id=row.task_id,
        status=row.status,
        agent_id=row.agent_id,
        task_type=row.task_type,
        priority=row.priority,
        enabled=bool(row.enabled),
        description=row.description,
        data=load_object(row.data),
        last_run_at=_moment(row.last_run_at_us),
        next_run_at=_moment(row.next_run_at_us),
        started_at=_moment(row.started_at_us),
        completed_at=_moment(row.completed_at_us),
        duration_s=row.duration_s,
        result=load_value(row.result),
        error=row.error,
        version=max(row.stamp, row.status_stamp or row.stamp).hex(),
        **_times(row),
    )


def stored_agent_state(row: AgentState) -> StoredAgentState:
    """A state's row as it is read."""
    return StoredAgentState(
        agent_id=row.agent_id,
        state=row.state,
        role=row.role,
        goal=row.goal,
        backstory=row.backstory,
        last_task_id=row.last_task_id,
        stats=load_object(row.stats),
        version=row.stamp.hex(),
        **_times(row),
    )


def stored_context(row: Context) -> StoredContext:
    """A context's row as it is read."""
    return StoredContext(
        id=row.context_id,
        data=load_object(row.data),
        agent_id=row.agent_id,
        session_id=row.session_id,
        expires_at=_moment(row.expires_at_us),
        version=row.stamp.hex(),
        **_times(row),
    )


def stored_key_value(row: KeyValue) -> StoredKeyValue:
    """A value's row as it is read."""
    return StoredKeyValue(
        namespace=row.namespace,
        key=row.key,
        value=load_value(row.value),
        expires_at=_moment(row.expires_at_us),
        version=row.stamp.hex(),
        **_times(row),
    )


DURATION_SCALE = 2.0**-64
"""Durations are added up multiplied by this, which is exact: the sum of no number of them overflows."""


class TasksOfStatus(NamedTuple):
    """What is counted of the tasks of one agent that have one status."""

    status: str
    tasks: int
    durations: int
    """How many of them have a duration."""
    duration: float | None
    """All of their durations together, in seconds multiplied by `DURATION_SCALE`."""
    last_at_us: int
    """When the newest was created."""


def agent_statistics(
    agent_id: str, tasks: Sequence[TasksOfStatus], logs: Iterable[tuple[int, int]], contexts: int
) -> AgentStatistics:
    """What was counted of one agent; *logs* are pairs of a level and how many events have it."""
    by_status = {each.status: each.tasks for each in sorted(tasks)}
    completed, failed = by_status.get("completed", 0), by_status.get("failed", 0)
    durations = sum(each.durations for each in tasks)
    duration = math.fsum(each.duration or 0 for each in tasks)
    return AgentStatistics(
        agent_id=agent_id,
        tasks=sum(by_status.values()),
        tasks_by_status=by_status,
        success_rate=completed / (completed + failed) if completed + failed else None,
        average_duration_s=duration / durations / DURATION_SCALE if durations else None,
        last_task_at=_moment(max((each.last_at_us for each in tasks), default=None)),
        logs_by_level={level_name(level): count for level, count in sorted(logs)},
        contexts=contexts,
    )


def _moment(at_us: int | None) -> datetime | None:
    return None if at_us is None else from_us(at_us)


def _times(row: Task | AgentState | Context | KeyValue) -> dict[str, Any]:
    first = row.created_at_us if row.first_at_us is None else row.first_at_us
    return {
        "created_at": from_us(first),
        "updated_at": from_us(row.created_at_us),
        "normalised": bool(row.normalised),
    }
