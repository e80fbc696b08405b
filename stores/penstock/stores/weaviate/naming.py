"""What collections, terms and numbers are called in Weaviate, which takes fewer characters and folds some."""

from __future__ import annotations

import hashlib
import re

from penstock.stores.errors import StoreRejected
from penstock.stores.metrics import METRICS
from penstock.stores.points.engine import Layout

_TOLD = re.compile(r"penstock ([0-9]+) ([a-z0-9]+) (.*)", re.DOTALL)


def class_of(collection: str) -> str:
    """What *collection* is called there: Weaviate takes letters, digits and `_`, and no two names that differ in case
    only. The name itself stands in its description.
    """
    return "Penstock_" + re.sub(r"[^a-z0-9]", lambda found: f"_{ord(found[0]):02x}", collection)


def description_of(collection: str, layout: Layout) -> str:
    """What tells of a collection that it is ours, and what was fixed when it was made."""
    return f"penstock {layout.dimension} {layout.metric} {collection}"


def described(description: str | None) -> tuple[str, Layout] | None:
    """The collection and its layout; None where somebody else made it."""
    found = _TOLD.fullmatch(description or "")
    metric = found and next((each for each in METRICS if each == found[2]), None)
    return None if found is None or metric is None else (found[3], Layout(int(found[1]), metric))


def layout_of(collection: str, description: str | None) -> Layout:
    """The layout of *collection*.

    Raises:
        StoreRejected: Somebody else made it, or Weaviate's auto-schema did.
    """
    found = described(description)
    if found is None or found[0] != collection:
        raise StoreRejected(
            f"collection {collection}: {class_of(collection)} was not made by Penstock; remove it, or take another name"
        )
    return found[1]


def word_of(term: str) -> str:
    """*term* as Weaviate indexes it: the spaces round a text go, so something stands behind them."""
    return f"{term};"


def property_of(key: str) -> str:
    """The property that has the number at *key*: a path has characters that no name of a property has."""
    tree, _, path = key.partition(".")
    return f"{tree}_{hashlib.blake2b(path.encode(), digest_size=16).hexdigest()}" if path else tree
