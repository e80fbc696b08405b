"""Spans of time whose messages may lack in the index of words, as backends keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Pending(NamedTuple):
    """One span. It is worked off from its end, so that what is new is found first."""

    key: Any
    """The backend's name for it."""
    since_us: int
    until_us: int
    until_id: bytes
    """The last message that may lack, of those created at `until_us`."""


def reaching(pending: Sequence[Pending]) -> tuple[Pending, list[Any]]:
    """The last span with all that it runs into as one, under no key, and the keys of all of them.

    *pending* are sorted by their ends, the last one first, and not empty. Batches that are written side by side bring
    messages of the same seconds: each is then looked at once.
    """
    since_us = pending[0].since_us
    keys = [pending[0].key]
    for each in pending[1:]:
        if each.until_us < since_us:
            break
        since_us = min(since_us, each.since_us)
        keys.append(each.key)
    return pending[0]._replace(key=None, since_us=since_us), keys
