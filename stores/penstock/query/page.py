"""Pages, and the cursors that lead from one to the next.

A cursor is the URL-safe text of

    1 byte     the format, 1
    1 byte     what it goes through and which way (`Course`)
    8 bytes    the last item's time, microseconds since 1970 UTC; 0 where time is no part of the order
    n bytes    the last item's id
    4 bytes    CRC-32 of the bytes before

It holds a place and no filter: a page begun with other filters goes on at the same place.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from penstock.stores.queries import Position
from penstock.wire.errors import PenstockError

MAX_LIMIT = 1_000
"""Longest page. A longer one would keep the reader's connection, and the caller's memory, for too long."""

_PAGE = 500
"""How many rows an exhaustive iteration fetches at once."""

_FORMAT = 1
_HEAD = struct.Struct(">BcQ")
_TAIL = struct.Struct(">I")

T = TypeVar("T")


class InvalidQuery(PenstockError, ValueError):
    """A question that cannot be asked. The message says what would be accepted."""


class InvalidCursor(InvalidQuery):
    """A cursor that this method did not give, or that was damaged on its way."""


class Course(Enum):
    """What a cursor goes through, and which way."""

    MESSAGES_OLDEST_FIRST = b"m"
    MESSAGES_NEWEST_FIRST = b"M"
    FOUND_NEWEST_FIRST = b"F"
    LOGS_OLDEST_FIRST = b"l"
    LOGS_NEWEST_FIRST = b"L"
    SESSIONS_LATEST_FIRST = b"S"
    TASKS_OLDEST_FIRST = b"t"
    TASKS_NEWEST_FIRST = b"T"
    AGENT_STATES_BY_ID = b"a"
    CONTEXTS_OLDEST_FIRST = b"c"
    CONTEXTS_NEWEST_FIRST = b"C"
    KEY_VALUES_BY_KEY = b"k"

    @property
    def words(self) -> str:
        """For people: `messages oldest first`."""
        return self.name.lower().replace("_", " ")


_BY_BYTES = {
    Course.MESSAGES_OLDEST_FIRST,
    Course.MESSAGES_NEWEST_FIRST,
    Course.FOUND_NEWEST_FIRST,
    Course.LOGS_OLDEST_FIRST,
    Course.LOGS_NEWEST_FIRST,
}
"""What has ids of 16 bytes; the ids of everything else are text."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of the items, in order. Iterates over them and has their number as its length."""

    items: Sequence[T]
    next: str | None
    """The cursor of the next page, to be given as `after`; None at the end."""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def page_of(found: Sequence[T], limit: int, course: Course, place: Callable[[T], Position]) -> Page[T]:
    """The page of the first *limit* of *found*; more than that tell that there is a next one."""
    items = found[:limit]
    return Page(items, cursor(course, place(items[-1])) if len(found) > limit else None)


async def every_item(ask: Callable[[int, str | None], Awaitable[Page[T]]]) -> AsyncIterator[T]:
    """The items of all pages; *ask* gets a limit and a cursor."""
    after: str | None = None
    while True:
        page = await ask(_PAGE, after)
        for item in page:
            yield item
        after = page.next
        if after is None:
            return


def checked_limit(limit: object, name: str = "limit") -> int:
    """*limit*, or `InvalidQuery`, which calls it *name*. Only what is called `limit` has pages."""
    if isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= MAX_LIMIT:
        return limit
    leads_on = ", and `after` leads on" if name == "limit" else ""
    raise InvalidQuery(f"{name} is {limit!r}; 1 to {MAX_LIMIT:,} is accepted{leads_on}")


def cursor(course: Course, last: Position) -> str:
    """The cursor of the page after *last*."""
    item = last.id.encode() if isinstance(last.id, str) else last.id
    body = _HEAD.pack(_FORMAT, course.value, last.at_us) + item
    return base64.urlsafe_b64encode(body + _TAIL.pack(zlib.crc32(body))).rstrip(b"=").decode()


def position(after: str | None, course: Course) -> Position | None:
    """Where the page begins that *after* leads to; None for the first page.

    Raises:
        InvalidCursor: Not a cursor, or one of another course.
    """
    if after is None:
        return None
    body = _unwrapped(after)
    _, letter, at_us = _HEAD.unpack_from(body)
    if letter != course.value:
        theirs = next((each.words for each in Course if each.value == letter), "something else")
        raise InvalidCursor(
            f"this cursor goes through {theirs}, not {course.words}; ask as you did for the page before"
        )
    item = body[_HEAD.size :]
    return Position(at_us, item if course in _BY_BYTES else item.decode())


def _unwrapped(after: str) -> bytes:
    try:
        packed = base64.b64decode(after.encode("ascii") + b"=" * (-len(after) % 4), altchars=b"-_", validate=True)
    except (AttributeError, UnicodeEncodeError, binascii.Error):
        packed = b""
    body = packed[: -_TAIL.size]
    if len(body) < _HEAD.size or body[0] != _FORMAT or _TAIL.pack(zlib.crc32(body)) != packed[-_TAIL.size :]:
        raise InvalidCursor("`after` is no cursor of this library, or was damaged; give a page's `next` as it is")
    return body
