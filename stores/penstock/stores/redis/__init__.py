"""The Redis backend: values under keys, each a hash that `redis-cli` shows."""

from penstock.stores.redis.store import RedisKeyValues, open_key_values

__all__ = ["RedisKeyValues", "open_key_values"]
