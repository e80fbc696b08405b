"""Lines of text logs, as log events of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from penstock.moving.events import Origin, level_of
from penstock.moving.moments import moment_us
from penstock.wire import building
from penstock.wire.ids import RisingClock, from_us
from penstock.wire.records import LogEvent

_EVENT = "log.line"

_TIME = r"\[?(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\s?(?:Z|[+-]\d\d:?\d\d))?)\]?"
_NAMES = "TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|CRITICAL|FATAL"
_LEVEL = rf"(?:\[\s*(?i:(?P<boxed>{_NAMES}))\s*\]|(?P<level>{_NAMES})\b)"

_LINES = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        # 2026-01-31 12:00:00,123 - scheduler - INFO - text       2026-01-31T12:00:00Z [error] text
        # A name begins with no dash: a long ruler of them would be cut between it and what is before in every way.
        rf"{_TIME}[\s|,:-]*(?:\[?(?P<logger>[\w.$/][\w.$/-]*)\]?\s+[-|:]\s+)?{_LEVEL}[\s|:-]*(?P<message>.*)",
        # INFO:scheduler:text                                     [INFO] text           ERROR: text
        rf"{_LEVEL}:(?P<logger>[\w.$/-]+):\s*(?P<message>.*)",
        rf"{_LEVEL}(?:(?<=\])|:)\s*(?P<message>.*)",
        # 2026-01-31 12:00:00 text
        rf"{_TIME}[\s|,:-]+(?P<message>.*)",
    )
)

_NO_CLOCK = RisingClock(lambda: 0)
"""Every time is given."""


def events_of(numbered: Iterable[tuple[int, bytes]], origin: Origin) -> Iterator[tuple[int, LogEvent]]:
    """An event for each line that is not empty, with the line's number.

    A line that names no time has that of the line before it; one that cannot be taken apart is the message of an event
    of level info. Lines of one time are a microsecond apart, which keeps their order.
    """
    named_us, since = origin.at_us, 0
    for number, raw in numbered:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line.strip():
            continue
        found = _taken_apart(line)
        at_us = moment_us(found.get("time"), origin.zone)
        if "time" in found and at_us is None:
            found = {}  # no time after all, and it must not get lost
        if at_us is None or at_us == named_us:
            since += 1
        else:
            named_us, since = at_us, 0
        yield number, _event(line, found, named_us + since, origin.at(number))


def _event(line: str, found: dict[str, str], at_us: int, origin: Origin) -> LogEvent:
    data: dict[str, object] = {"file": origin.file, "line": origin.line}
    if "logger" in found:
        data["logger"] = found["logger"]
    return building.log_event(
        _NO_CLOCK,
        event=_EVENT,
        level=level_of(found.get("level") or found.get("boxed")) or building.LEVELS["info"],
        message=found.get("message", line),
        id=origin.id_of(line),
        created_at=from_us(at_us),
        data=data,
    )


def _taken_apart(line: str) -> dict[str, str]:
    for pattern in _LINES:
        found = pattern.fullmatch(line)
        if found:
            return {name: text for name, text in found.groupdict().items() if text is not None}
    return {}
