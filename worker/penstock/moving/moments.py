"""Times as other programs write them."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import to_us

_UNITS = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
"""A number below the first is seconds since 1970, below the second milliseconds, below the third microseconds.

The same digits would be the year 5138 in the one and 1973 in the other."""

_DATE = re.compile(r"(\d{4})/(\d\d)/(\d\d)")
_SPACE_BEFORE_ZONE = re.compile(r"\s+(?=[+-]\d\d:?\d\d$|Z$)")


def moment_us(value: object, zone: tzinfo) -> int | None:
    """*value* as microseconds since 1970 UTC: a number since 1970, or ISO 8601. None where it is neither.

    A time that names no zone is one of *zone*.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _of_number(value)
        if isinstance(value, str):
            at = datetime.fromisoformat(_SPACE_BEFORE_ZONE.sub("", _DATE.sub(r"\1-\2-\3", value.strip())))
            return to_us(at if at.tzinfo else at.replace(tzinfo=zone), "time")
    except (InvalidRecord, ValueError, OverflowError):
        pass
    return None


def _of_number(number: float) -> int:
    for limit, factor in _UNITS:
        if number < limit:
            return to_us(round(number * factor), "time")
    return to_us(int(number) // 1_000, "time")
