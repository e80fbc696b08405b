"""The read library: what was stored, asked for beside the queue and without it."""

from penstock.query.page import InvalidCursor, InvalidQuery, Page
from penstock.query.reader import Reader
from penstock.stores.rows import Hit, Session, StoredLog, StoredMessage

__all__ = [
    "Hit",
    "InvalidCursor",
    "InvalidQuery",
    "Page",
    "Reader",
    "Session",
    "StoredLog",
    "StoredMessage",
]
