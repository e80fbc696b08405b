"""Values under keys for the tests of stores that keep them, and what such a store says of them."""

from __future__ import annotations

from typing import Any

from penstock.stores.key_value_contract import KeyValueStore
from penstock.stores.queries import KeyValueQuery
from penstock.testing.conformance.state_records import stamp
from penstock.wire.ids import id_from_key
from penstock.wire.records import KeyValue

NOW_US = 4_000_000_000_000_000
"""In 2096: a server that lets values expire by its own clock keeps all of these."""

WILD = [
    "",
    "%",
    "_",
    "*",
    "?",
    "[",
    "]",
    "\\",
    "a",
    "a%",
    "a_",
    "a*",
    "a[b]",
    "a\\",
    "ab",
    "b",
    "{",
    "}",
    "é",
    "𝄞",
    "𝄞%",
]
"""Beginnings of keys that some store could take for more than they are, astral ones as well."""


def key_value(number: int, key: str = "k", namespace: str = "n", **fields: Any) -> KeyValue:
    """The value with that number, which is its time and its stamp."""
    head = id_from_key(f"{number}"), NOW_US + number, stamp(number), namespace, key
    return KeyValue(*head, **{"value": b"%d" % number, **fields})


def deleted(number: int, key: str = "k", namespace: str = "n") -> KeyValue:
    """The deletion with that number."""
    return key_value(number, key, namespace, value=None, deleted_at_us=NOW_US + number)


async def value_of(store: KeyValueStore, key: str = "k", now_us: int = NOW_US) -> Any:
    """The value that is told; None where none is."""
    found = await store.key_value("n", key, now_us)
    return None if found is None else found.value


async def keys_under(store: KeyValueStore, prefix: str, namespace: str = "n", now_us: int = NOW_US) -> list[str]:
    """What both ways to ask for a prefix find."""
    query = KeyValueQuery(now_us=now_us, namespace=namespace, prefix=prefix, limit=10_000)
    paged = [each.key for each in await store.key_values(query)]
    walked = {each.key async for some in store.under(namespace, prefix, now_us) for each in some}
    assert sorted(walked) == paged
    return paged
