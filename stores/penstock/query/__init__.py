"""The read library: what was stored, asked for beside the queue and without it.

The classes of all answers are in `penstock.stores.rows`.
"""

from penstock.query.page import InvalidCursor, InvalidQuery, Page
from penstock.query.reader import Reader
from penstock.stores.filters import FilterError
from penstock.stores.rows import Hit, Session, StoredLog, StoredMessage

__all__ = [
    "FilterError",
    "Hit",
    "InvalidCursor",
    "InvalidQuery",
    "Page",
    "Reader",
    "Session",
    "StoredLog",
    "StoredMessage",
]
