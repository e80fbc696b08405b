"""Cursors survive their way through a URL, and nothing else passes for one."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.query import InvalidCursor, InvalidQuery, Page
from penstock.query.page import Course, checked_limit, cursor, page_of, position
from penstock.stores.queries import Position

times = st.integers(0, 253_402_300_799_999_999)


@given(times, st.binary(min_size=16, max_size=16), st.sampled_from(list(Course)[:5]))
def test_a_place_among_messages_and_logs_comes_back(at_us: int, row_id: bytes, course: Course) -> None:
    text = cursor(course, Position(at_us, row_id))

    assert position(text, course) == (at_us, row_id)
    assert set(text) <= set(string.ascii_letters + string.digits + "-_")


@given(
    times,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255),
    st.sampled_from(list(Course)[5:]),
)
def test_a_place_among_what_is_named_by_text_comes_back(at_us: int, name: str, course: Course) -> None:
    text = cursor(course, Position(at_us, name))

    assert position(text, course) == (at_us, name)


def test_the_first_page_has_no_place() -> None:
    assert position(None, Course.LOGS_NEWEST_FIRST) is None


@pytest.mark.parametrize("given_course", Course)
@pytest.mark.parametrize("asked", Course)
def test_a_cursor_goes_on_only_the_way_it_came(given_course: Course, asked: Course) -> None:
    text = cursor(given_course, Position(1, b"0" * 16))
    if given_course is asked:
        position(text, asked)
        return

    with pytest.raises(InvalidCursor, match=f"through {given_course.words}, not {asked.words}"):
        position(text, asked)


@pytest.mark.parametrize("damaged", ["", "x", "!", "ü", "eyJhIjoxfQ", "A" * 40, "A" * 41, b"bytes", 5])
def test_a_foreign_cursor_is_refused(damaged: str) -> None:
    with pytest.raises(InvalidCursor, match="no cursor of this library"):
        position(damaged, Course.LOGS_NEWEST_FIRST)


@given(st.data())
def test_a_damaged_cursor_is_refused(data: st.DataObject) -> None:
    whole = cursor(Course.LOGS_NEWEST_FIRST, Position(123_456, b"0123456789abcdef"))
    raw = bytearray(base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(InvalidCursor):
        position(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), Course.LOGS_NEWEST_FIRST)


@pytest.mark.parametrize("limit", [0, -1, 1001, True, 2.5, "10", None])
def test_a_limit_out_of_bounds_is_refused(limit: object) -> None:
    with pytest.raises(InvalidQuery, match="1 to 1,000"):
        checked_limit(limit)


def test_a_page_has_its_items_and_knows_whether_there_are_more() -> None:
    def place(number: int) -> Position:
        return Position(number, b"0" * 16)

    more = page_of([1, 2, 3], 2, Course.LOGS_OLDEST_FIRST, place)
    last = page_of([1, 2], 2, Course.LOGS_OLDEST_FIRST, place)
    none: Page[int] = page_of([], 2, Course.LOGS_OLDEST_FIRST, place)

    assert (list(more), len(more), more.next is not None) == ([1, 2], 2, True)
    assert (list(last), last.next) == ([1, 2], None)
    assert (list(none), len(none), none.next) == ([], 0, None)
