"""Every key of the backend, and a record as the fields of a hash. Nothing else builds any.

Both keys of a value share a hash tag, so that one script may change them on any server of a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.stores.key_paths import key_at, path_of
from penstock.stores.states import Key
from penstock.wire.ids import format_id, parse_id
from penstock.wire.records import KeyValue

FIELDS = ["value", "stamp", "id", "created", "updated", "expires", "deleted", "normalised"]
"""JSON · hex · UUID · microseconds since 1970 UTC, four times · `1`. What has nothing to say is left out."""

_GLOB = re.compile(r"([*?\[\]\\])")


class Layout:
    """The keys below one prefix."""

    def __init__(self, prefix: str) -> None:
        self._values = f"{prefix}:kv:{{"
        self._gone = f"{prefix}:gone:{{"

    def value(self, key: Key) -> str:
        """Hash: the value. There only while it is neither deleted nor expired."""
        return f"{self._values}{path_of(key)}}}"

    def gone(self, key: Key) -> str:
        """Hash without a value: the stamp of one that was deleted, or expires by itself; with a TTL.

        It keeps out what is older and comes late.
        """
        return f"{self._gone}{path_of(key)}}}"

    def pattern(self, namespace: str, prefix: str) -> str:
        """A glob of the values whose keys begin with *prefix*, in which nothing but its end is a wildcard."""
        return _GLOB.sub(r"\\\1", self._values + path_of((namespace, prefix))) + "*}"

    def key_in(self, name: bytes) -> Key:
        """The key whose value lies under *name*."""
        return key_at(name.decode().removeprefix(self._values).removesuffix("}"))


def fields_of(row: KeyValue) -> dict[str, Any]:
    """*row* as the fields of a hash; of one that is deleted all but its value."""
    fields: Mapping[str, Any] = {
        "value": row.value if row.deleted_at_us is None else None,
        "stamp": row.stamp.hex(),
        "id": format_id(row.id),
        "created": row.created_at_us if row.first_at_us is None else row.first_at_us,
        "updated": row.created_at_us,
        "expires": row.expires_at_us,
        "deleted": row.deleted_at_us,
        "normalised": 1 if row.normalised else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def row_of(key: Key, values: Sequence[bytes | None]) -> KeyValue | None:
    """The row of *key* whose `FIELDS` have these values; None where there is no hash.

    Without a value it is a tombstone, also where the server's clock has found it expired and the caller's has not.
    """
    value, stamp, record_id, created, updated, expires, deleted, normalised = values
    if stamp is None or record_id is None:
        return None
    namespace, name = key
    expires_at_us, updated_at_us = _number(expires), int(updated or 0)
    deleted_at_us = _number(deleted)
    if value is None and deleted_at_us is None:
        deleted_at_us = updated_at_us if expires_at_us is None else expires_at_us
    return KeyValue(
        parse_id(record_id.decode()),
        updated_at_us,
        bytes.fromhex(stamp.decode()),
        namespace,
        name,
        value,
        expires_at_us,
        deleted_at_us,
        normalised is not None,
        _number(created),
    )


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)
