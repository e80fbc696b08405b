"""What a collection is called in Milvus, which takes letters, digits and `_` alone."""

from __future__ import annotations

import re

PREFIX = "penstock_"


def milvus_name(collection: str) -> str:
    """Another name for every collection, of 255 characters at most."""
    return PREFIX + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):02x}", collection)


def collection_of(name: str) -> str | None:
    """The collection that is called *name* there; None where it is none of ours."""
    if not re.fullmatch(rf"{PREFIX}(?:[A-Za-z0-9]|_[0-9a-f]{{2}})+", name):
        return None
    return re.sub(r"_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), name.removeprefix(PREFIX))
