"""`penstock demo`: the whole way of a record, on one machine, in a few seconds."""

from __future__ import annotations


def demo() -> None:
    """Show agents, queue, worker and stores at work."""
