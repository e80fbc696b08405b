"""The read library: what was stored, asked for beside the queue and without it."""

from penstock.query.page import InvalidCursor, InvalidQuery, Page
from penstock.query.reader import Reader
from penstock.stores.filters import FilterError
from penstock.stores.rows import (
    AgentStatistics,
    Hit,
    Session,
    StoredAgentState,
    StoredContext,
    StoredKeyValue,
    StoredLog,
    StoredMessage,
    StoredTask,
)

__all__ = [
    "AgentStatistics",
    "FilterError",
    "Hit",
    "InvalidCursor",
    "InvalidQuery",
    "Page",
    "Reader",
    "Session",
    "StoredAgentState",
    "StoredContext",
    "StoredKeyValue",
    "StoredLog",
    "StoredMessage",
    "StoredTask",
]
