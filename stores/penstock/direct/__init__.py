"""A store used without a queue: the producer's calls, awaited, and durable when they return."""

from penstock.direct.errors import StoreNotOpen, TransactionEnded, TransactionTooLarge
from penstock.direct.store import DirectStore, open_store
from penstock.direct.transaction import Transaction
from penstock.stores.health import Check, Health, Totals

__all__ = [
    "Check",
    "DirectStore",
    "Health",
    "StoreNotOpen",
    "Totals",
    "Transaction",
    "TransactionEnded",
    "TransactionTooLarge",
    "open_store",
]
