"""Which dead letters are meant: the same words for every call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from penstock.wire.errors import PenstockError
from penstock.wire.ids import given_us
from penstock.wire.records import LANES

if TYPE_CHECKING:
    from penstock.dlq.letters import DeadLetter


class UnknownLane(PenstockError, ValueError):
    """No lane has this name."""


class Which(TypedDict, total=False):
    """What a letter must be, all of it. Nothing given means every letter."""

    lane: str | None
    error_kind: str | None
    group: str | None
    """The fingerprint of a group, or its first characters."""
    since: datetime | None
    """Given up then or later, the last time."""
    until: datetime | None
    """Given up before, the last time."""
    session: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`Which`, checked.

    Raises:
        UnknownLane: The lane is none.
        InvalidRecord: A time names no zone.
    """

    lane: str | None = None
    error_kind: str | None = None
    group: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    session: str | None = None

    def __post_init__(self) -> None:
        if self.lane is not None and self.lane not in LANES:
            raise UnknownLane(f"no lane is called {self.lane!r}; known are {', '.join(LANES)}")
        for name in ("since", "until"):
            at = getattr(self, name)
            if at is not None:
                given_us(at, name)

    def takes(self, letter: DeadLetter) -> bool:
        """Whether *letter* is one of those that are meant."""
        return (
            self.lane in (None, letter.lane)
            and self.error_kind in (None, letter.error_kind)
            and (self.group is None or letter.fingerprint.startswith(self.group))
            and self._covers(letter.last_at)
            and (self.session is None or letter.session_id == self.session)
        )

    def _covers(self, at: datetime | None) -> bool:
        if at is None:
            return self.since is None and self.until is None
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)
