"""What a store that is used directly raises beside store errors.

StoreError
├── StoreNotOpen           open it before, with `async with`
├── TransactionEnded       begin another one
└── TransactionTooLarge    commit, and go on in another one
"""

from __future__ import annotations

from penstock.stores.errors import StoreError


class StoreNotOpen(StoreError):
    """The store was not opened yet, or is closed."""


class TransactionEnded(StoreError):
    """The transaction was committed or rolled back, and takes nothing more."""


class TransactionTooLarge(StoreError):
    """The transaction has no room for one more record. That one was not taken; the others are."""
