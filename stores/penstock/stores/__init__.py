"""Stores: where records end. Opened by URL, told apart by what they raise."""

from penstock.stores.contract import Fence
from penstock.stores.errors import (
    BadStoreURL,
    DimensionMismatch,
    StaleOwner,
    StoreError,
    StoreRejected,
    StoreUnavailable,
)
from penstock.stores.registry import register, sql_store, vector_store

__all__ = [
    "BadStoreURL",
    "DimensionMismatch",
    "Fence",
    "StaleOwner",
    "StoreError",
    "StoreRejected",
    "StoreUnavailable",
    "register",
    "sql_store",
    "vector_store",
]
