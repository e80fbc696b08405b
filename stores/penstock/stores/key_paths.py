"""A namespace and a key as one text, for stores that find values by one."""

from __future__ import annotations

from penstock.stores.states import Key


def path_of(key: Key) -> str:
    """*key*, a namespace and a key in it, as a text that no other one has; that of a prefix begins those of its keys.

    With a length, or namespace `a:b` with key `c` would be namespace `a` with key `b:c`.
    """
    namespace, name = key
    return f"{len(namespace)}:{namespace}:{name}"


def key_at(path: str) -> Key:
    """The key whose path it is."""
    size, _, rest = path.partition(":")
    return rest[: int(size)], rest[int(size) + 1 :]
