"""The steps of a slice, named where a crash has to be harmless. `penstock.testing` kills workers at each of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """Where a drain is. What lies between two steps is done, or not, when a worker dies there."""

    MERGE = "merge"
    """A batch is read and decoded; its streams are not folded yet."""
    BEFORE_STORE = "before-store"
    """What is to be written is known."""
    BISECT = "bisect"
    """The store refused several records together; they are about to be halved."""
    AFTER_STORE = "after-store"
    """The store has the batch, the log has it still."""
    AFTER_TRIM = "after-trim"
    """The log is trimmed; the lease is not given back yet."""
    SHUTDOWN = "shutdown"
    """A signal was taken; drains finish their batch."""


Reached = Callable[[Step], None]
"""Told of each step, before what follows it."""


def go_on(_step: Step) -> None:
    """What a worker does at each step, outside tests."""
