"""The golden frames' records, spelled out: one plain, one full record of each kind, and a mixed frame."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from penstock.wire.records import (
    AgentState,
    Context,
    Embedding,
    EmbeddingDeletion,
    KeyValue,
    LogEvent,
    Message,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
    TaskStatus,
)

_AT_US = 1_767_225_600_000_001  # 2026-01-01T00:00:00.000001Z


def _id(last: int) -> bytes:
    return bytes.fromhex("019b76da80007000800000000000") + last.to_bytes(2, "big")


PLAIN_MESSAGE = Message(_id(1), _AT_US, "session-1", "user", "Hello, wörld 👋")

FULL_MESSAGE = Message(
    id=_id(2),
    created_at_us=_AT_US + 1,
    session_id="session-1",
    role="assistant",
    content="",
    metadata=b'{"tool_calls":[{"id":"call_1","type":"function"}],"nothing":null}',
    user_id="user-1",
    message_type="text",
    platform="slack",
    from_user_id="bot-1",
    from_user_name="Bot",
    to_user_id="user-1",
    channel_id="channel-1",
    thread_id="thread-1",
    bot_user_id="bot-1",
    engine_session_id="7e57ed00-0000-4000-8000-000000000000",
    engine_namespace="engine",
    provider_session_id="provider-session-1",
    provider_type="openai",
    updated_at_us=_AT_US + 2,
    deleted_at_us=_AT_US + 3,
    state="interrupted",
    version=70_000,
    normalised=True,
)

FIRST_CHUNK = StreamChunk(
    _id(3), _AT_US, "session-1", "assistant", _id(4), 0, 2, "Once upon", fields=b'{"user_id":"user-1"}'
)
LAST_CHUNK = StreamChunk(
    _id(5), _AT_US, "session-1", "assistant", _id(4), 2, 0, "", end="complete", fields=b"{}", normalised=True
)

PLAIN_LOG = LogEvent(_id(6), _AT_US, 20, "tool.called")
FULL_LOG = LogEvent(
    _id(7),
    _AT_US,
    40,
    "tool.failed",
    "it \ufffd broke",
    "agent-1",
    "task-1",
    b'{"code":-9223372036854775808}',
    normalised=True,
)

PLAIN_EMBEDDING = Embedding(_id(8), _AT_US, "documents", "doc-1", struct.pack("<3f", 1.5, -2.0, 0.25))
FULL_EMBEDDING = Embedding(
    _id(9),
    _AT_US,
    "documents",
    "doc-2",
    struct.pack("<2f", 3.4028234663852886e38, -0.0),
    "text",
    b'{"page":7}',
    normalised=True,
)

STAMP = bytes.fromhex("019b76da80000001") + b"producer"

TASK = Task(_id(20), _AT_US, STAMP, "task-1")
FULL_TASK = Task(
    id=_id(21),
    created_at_us=_AT_US,
    stamp=STAMP,
    task_id="task-1",
    status="completed",
    agent_id="agent-1",
    task_type="report",
    priority="high",
    enabled=False,
    description="Write the report",
    data=b'{"schedule":"daily"}',
    last_run_at_us=_AT_US + 1,
    next_run_at_us=_AT_US + 2,
    started_at_us=_AT_US + 3,
    completed_at_us=_AT_US + 4,
    duration_s=1.5,
    result=b'{"pages":3}',
    error="late",
    deleted_at_us=_AT_US + 5,
    normalised=True,
    first_at_us=_AT_US - 1,
    status_stamp=STAMP,
)
TASK_STATUS = TaskStatus(_id(22), _AT_US, STAMP, "task-1", "running")
FULL_TASK_STATUS = TaskStatus(
    _id(23), _AT_US, STAMP, "task-1", "completed", _AT_US + 1, _AT_US + 2, _AT_US + 3, _AT_US + 4, 1.5, b'{"pages":3}',
    "late", normalised=True,
)  # fmt: skip
AGENT_STATE = AgentState(_id(24), _AT_US, STAMP, "agent-1")
FULL_AGENT_STATE = AgentState(
    _id(25), _AT_US, STAMP, "agent-1", "busy", "coder", "Write code", "Years of it", "task-1", b'{"tasks":10}',
    _AT_US + 1, normalised=True, first_at_us=_AT_US - 1,
)  # fmt: skip
CONTEXT = Context(_id(26), _AT_US, STAMP, "context-1", b'{"x":1}')
FULL_CONTEXT = Context(
    _id(27),
    _AT_US,
    STAMP,
    "context-1",
    b'{"x":1}',
    "agent-1",
    "session-1",
    _AT_US + 9,
    _AT_US + 1,
    normalised=True,
    first_at_us=_AT_US - 1,
)
KEY_VALUE = KeyValue(_id(28), _AT_US, STAMP, "default", "theme", b'"dark"')
FULL_KEY_VALUE = KeyValue(
    _id(29),
    _AT_US,
    STAMP,
    "default",
    "theme",
    b'{"name":"dark"}',
    _AT_US + 9,
    _AT_US + 1,
    normalised=True,
    first_at_us=_AT_US - 1,
)

FULL_MESSAGE_DELETION = MessageDeletion(_id(31), _AT_US, "session-1", _id(2))

FRAMES: Mapping[str, Sequence[Record]] = {
    "message": [PLAIN_MESSAGE, FULL_MESSAGE],
    "stream_chunk": [FIRST_CHUNK, LAST_CHUNK],
    "log_event": [PLAIN_LOG, FULL_LOG],
    "embedding": [PLAIN_EMBEDDING, FULL_EMBEDDING],
    "task": [TASK, FULL_TASK],
    "task_status": [TASK_STATUS, FULL_TASK_STATUS],
    "agent_state": [AGENT_STATE, FULL_AGENT_STATE],
    "context": [CONTEXT, FULL_CONTEXT],
    "key_value": [KEY_VALUE, FULL_KEY_VALUE],
    "message_deletion": [MessageDeletion(_id(30), _AT_US, "session-1"), FULL_MESSAGE_DELETION],
    "embedding_deletion": [EmbeddingDeletion(_id(32), _AT_US, "documents", "doc-1")],
    "mixed_many": [PLAIN_MESSAGE, FIRST_CHUNK, PLAIN_LOG, PLAIN_EMBEDDING] * 5,
}
"""What each committed file holds. `mixed_many` has more than 15 records, so its array has the long header."""
