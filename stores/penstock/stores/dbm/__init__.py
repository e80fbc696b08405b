"""The dbm backend: values under keys in a file of the standard library's, and a journal beside it."""

from penstock.stores.dbm.store import DbmKeyValues, open_key_values

__all__ = ["DbmKeyValues", "open_key_values"]
