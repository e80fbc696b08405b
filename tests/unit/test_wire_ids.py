"""Ids and times: made once, told in one way, never going back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import ids
from penstock.wire.errors import InvalidRecord


@given(st.lists(st.integers(0, 2**50), min_size=1))
def test_clock_rises_whatever_the_machines_clock_does(readings: list[int]) -> None:
    clock = ids.RisingClock(iter(readings).__next__)

    told = [clock.now_us() for _ in readings]

    assert told == sorted(set(told))
    assert all(now >= reading for now, reading in zip(told, readings, strict=True))


def test_clock_set_back_an_hour_goes_on_by_single_microseconds() -> None:
    readings = iter([7_200_000_000, 3_600_000_000, 3_600_000_001, 7_200_000_010])
    clock = ids.RisingClock(readings.__next__)

    assert [clock.now_us() for _ in range(4)] == [7_200_000_000, 7_200_000_001, 7_200_000_002, 7_200_000_010]


def test_new_ids_are_uuid7_and_rise() -> None:
    made = [ids.new_id() for _ in range(10_000)]

    assert made == sorted(set(made))
    assert {uuid.UUID(bytes=one).version for one in made} == {7}


def test_key_gives_the_same_id_on_every_machine() -> None:
    assert ids.format_id(ids.id_from_key("order-17")) == "92eb4446-3110-59ca-98e0-b4255400407d"


@given(st.binary(min_size=16, max_size=16))
def test_id_returns_from_its_text(value: bytes) -> None:
    text = ids.format_id(value)

    assert text == str(uuid.UUID(bytes=value))
    assert [ids.parse_id(form) for form in (text, text.upper(), value, uuid.UUID(text), uuid_utils.UUID(text))] == [
        value
    ] * 5


@pytest.mark.parametrize("value", ["", "x", "1234", b"", b"123", bytes(17), None, 7, "g" * 32])
def test_what_is_no_id_is_refused_by_its_fields_name(value: object) -> None:
    with pytest.raises(InvalidRecord, match=r"^parent_id: got .* a UUID is needed"):
        ids.parse_id(value, "parent_id")


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001 - naive bounds are what the strategy takes
def test_time_of_any_zone_returns_to_the_microsecond(at: datetime) -> None:
    assert ids.from_us(ids.to_us(at, "created_at")) == at.astimezone(UTC)


@given(st.integers(0, 253_402_300_799_999_999))
def test_microseconds_return_from_their_time(value: int) -> None:
    assert ids.to_us(ids.from_us(value), "created_at") == ids.to_us(value, "created_at") == value


def test_last_microsecond_of_9999_is_the_last() -> None:
    last = datetime.max.replace(tzinfo=UTC)

    assert ids.from_us(ids.to_us(last, "t")) == last
    with pytest.raises(InvalidRecord, match="9999"):
        ids.to_us(ids.to_us(last, "t") + 1, "t")


def test_told_times_are_utc() -> None:
    assert ids.from_us(0).utcoffset() == timedelta(0)
