"""A SQLite database seen past the store: through the standard library and SQL of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from penstock.stores.states import Row
from penstock.testing.conformance.records import Counts
from penstock.wire.records import AgentState, Context, KeyValue, LogEvent, Message, Task


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def stored_messages(path: Path) -> list[Message]:
    """All messages in the order of their rows."""
    found = rows(
        path,
        """SELECT m.id, created_at, s.id, role, content, metadata, m.user_id, message_type, m.platform, from_user_id,
        from_user_name, to_user_id, channel_id, thread_id, bot_user_id, engine_session_id, engine_namespace,
        provider_session_id, provider_type, updated_at, deleted_at, state, version, normalised
        FROM messages m LEFT JOIN sessions s ON no = session_no ORDER BY m.rowid""",
    )
    return [Message(*row)._replace(metadata=_bytes(row[5]), normalised=bool(row[-1])) for row in found]


def stored_logs(path: Path) -> list[LogEvent]:
    found = rows(
        path,
        "SELECT id, created_at, level, event, message, agent_id, task_id, data, normalised FROM logs ORDER BY rowid",
    )
    return [LogEvent(*row)._replace(data=_bytes(row[7]), normalised=bool(row[-1])) for row in found]


def session_counts(path: Path) -> dict[str, Counts]:
    sql = "SELECT id, message_count, first_message_at, last_message_at, last_message_id FROM sessions"
    return {row[0]: Counts(*row[1:]) for row in rows(path, sql)}


def stored_chunks(path: Path) -> list[tuple[bytes, int, str]]:
    found: list[Any] = rows(path, "SELECT stream_id, seq, text FROM chunks ORDER BY stream_id, seq")
    return found


def stored_states(path: Path) -> list[Row]:
    tasks = rows(
        path,
        """SELECT record_id, updated_at, stamp, id, status, agent_id, task_type, priority, enabled, description, data,
        last_run_at, next_run_at, started_at, completed_at, duration_s, result, error, deleted_at, normalised,
        created_at, status_stamp FROM tasks""",
    )
    states = rows(
        path,
        """SELECT record_id, updated_at, stamp, agent_id, state, role, goal, backstory, last_task_id, stats,
        deleted_at, normalised, created_at FROM agent_states""",
    )
    contexts = rows(
        path,
        """SELECT record_id, updated_at, stamp, id, data, agent_id, session_id, expires_at, deleted_at, normalised,
        created_at FROM contexts""",
    )
    values = rows(
        path,
        """SELECT record_id, updated_at, stamp, namespace, key, value, expires_at, deleted_at, normalised, created_at
        FROM key_values""",
    )
    found: list[Row] = [Task(*row)._replace(data=_bytes(row[10]), result=_bytes(row[16])) for row in tasks]
    found += [AgentState(*row)._replace(stats=_bytes(row[9])) for row in states]
    found += [Context(*row)._replace(data=_bytes(row[4])) for row in contexts]
    found += [KeyValue(*row)._replace(value=_bytes(row[5])) for row in values]
    return found


def indexed_words(path: Path) -> list[str]:
    return [row[0] for row in rows(path, "SELECT words FROM search_words ORDER BY words")]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def locked_by_a_stranger(path: Path) -> Callable[[], None]:
    """Hold the write lock of the file until the returned function is called."""
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    return stranger.close


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
