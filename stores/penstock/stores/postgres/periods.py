"""Periods of time as ranges of ids: which partitions there should be.

An id that a producer made is a UUIDv7: its first 48 bits are the milliseconds at which it was made. So the ids of a
period lie together, and an id of a caller's own key (a UUIDv5) lies anywhere, nearly always outside of every period.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import islice
from typing import NamedTuple

PERIODS = ("day", "week", "month")

_AHEAD = 2
"""Periods made before they begin."""

_GAP = 100
"""Periods that are made up for, when nobody made any for a while. A longer gap is left to the default partition."""

_FIRST, _LAST = date(1970, 1, 1), date(9998, 1, 1)
_DAY_US = 86_400_000_000
_MOST_DAYS = (_LAST - _FIRST).days
_BOUND = re.compile(r"FROM \('([0-9a-f-]{36})'\) TO \('([0-9a-f-]{36})'\)")


class Span(NamedTuple):
    """Ids made from a day on and before another one, UTC."""

    start: date
    end: date

    @property
    def ids(self) -> tuple[bytes, bytes]:
        """The first id, and the first one after the last."""
        return _first_id(self.start), _first_id(self.end)

    @property
    def end_us(self) -> int:
        """The end in microseconds since 1970."""
        return (self.end - _FIRST).days * _DAY_US

    def name(self, table: str) -> str:
        """What the partition of *table* is called."""
        return f"{table}_{self.start:%Y%m%d}"


def everything_until(span: Span) -> Span:
    """All ids up to the end of *span*."""
    return Span(_FIRST, span.end)


def span_of(bound: str) -> Span | None:
    """The span that the server shows as *bound*; None of the default partition, or of bounds that are not ours."""
    found = _BOUND.search(bound)
    if found is None:
        return None
    ids = bytes.fromhex(found[1].replace("-", "")), bytes.fromhex(found[2].replace("-", ""))
    span = Span(*map(_day, ids))
    return span if span.ids == ids else None


def current(now_us: int, period: str) -> Span:
    """The period in which *now_us* lies.

    Raises:
        ValueError: It is outside of the years 1970 to 9997.
    """
    if not 0 <= now_us < _us(_LAST):
        raise ValueError(f"now_us is {now_us}; a time of the years 1970 to 9997 is needed, look at the clock")
    start = _start(_FIRST + timedelta(days=now_us // _DAY_US), period)
    return Span(start, _next(start, period))


def missing(there: Sequence[Span], now_us: int, period: str) -> list[Span]:
    """The spans to make beside those that are *there*: of now and of the two periods after it.

    At first also the period before, for records that wait in the queue. Later those since the last one that is there,
    which nobody made in time.
    """
    now = current(now_us, period)
    end = now.end
    for _ in range(_AHEAD):
        end = _next(end, period)
    start = now.start if there else _start(max(_FIRST, now.start - timedelta(days=1)), period)
    last = max((each.end for each in there if each.end <= start), default=start)
    gap = list(islice(_periods(last, start, period), _GAP + 1))
    wanted = [*(gap if len(gap) <= _GAP else []), *_periods(start, end, period)]
    return [rest for each in wanted for rest in _rest(each, there)]


def _rest(span: Span, there: Sequence[Span]) -> list[Span]:
    """What of *span* nothing covers, for there may be spans of other lengths."""
    rest, at = [], span.start
    for start, end in sorted(there):
        if end <= at or start >= span.end:
            continue
        if start > at:
            rest.append(Span(at, start))
        at = end
    return [*rest, Span(at, span.end)] if at < span.end else rest


def _periods(start: date, end: date, period: str) -> Iterator[Span]:
    """The periods from *start* to *end*, the first one from *start* on."""
    while start < end:
        after = min(end, _next(_start(start, period), period))
        yield Span(start, after)
        start = after


def _start(day: date, period: str) -> date:
    if period == "month":
        return day.replace(day=1)
    return max(_FIRST, day - timedelta(days=day.weekday())) if period == "week" else day


def _next(start: date, period: str) -> date:
    if period == "month":
        return (start + timedelta(days=31)).replace(day=1)
    return (
        start - timedelta(days=start.weekday()) + timedelta(days=7) if period == "week" else start + timedelta(days=1)
    )


def _us(day: date) -> int:
    return (day - _FIRST).days * _DAY_US


def _first_id(day: date) -> bytes:
    return (_us(day) // 1000 << 80).to_bytes(16, "big")


def _day(bound: bytes) -> date:
    """The day of an id, or the last one of all for an id that is none of ours."""
    days = int.from_bytes(bound[:6], "big") * 1000 // _DAY_US
    return _FIRST + timedelta(days=min(days, _MOST_DAYS))
