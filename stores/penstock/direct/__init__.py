"""A store used without a queue: the producer's calls, awaited, and durable when they return. And values under keys,
with a queue or without."""

from penstock.direct.errors import StoreNotOpen, TransactionEnded, TransactionTooLarge
from penstock.direct.key_values import open_key_values
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
    "open_key_values",
    "open_store",
]
