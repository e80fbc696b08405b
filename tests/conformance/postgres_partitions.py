"""What the tests of partitions write and look at: records with ids that are times, and where their rows lie."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.wire.records import LogEvent, Message
from tests.conformance.postgres_server import Schema

DAY_US = 86_400_000_000


def at(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000


def made_id(at_us: int, number: int) -> bytes:
    """What a producer makes at that time: a UUIDv7."""
    return ((at_us // 1000 << 80) | (7 << 76) | (2 << 62) | number).to_bytes(16, "big")


def timed_message(at_us: int, number: int = 0, session: str = "s") -> Message:
    return Message(made_id(at_us, number), at_us, session, "user", f"text {number}")


def timed_log(at_us: int, number: int = 0) -> LogEvent:
    return LogEvent(made_id(at_us, number), at_us, 20, "step")


def parts(schema: Schema, table: str = "messages") -> dict[str, int]:
    """The partitions with the number of their rows."""
    names = schema.rows("SELECT relid::regclass::text FROM pg_partition_tree($1::text::regclass) WHERE isleaf", table)
    return {name: schema.rows(f"SELECT count(*) FROM {name}")[0][0] for (name,) in sorted(names)}


def months(table: str, *months: int) -> list[str]:
    """Names of this month's partition and of those so many months away."""
    now = datetime.now(UTC)
    at = [now.year * 12 + now.month - 1 + month for month in months]
    return [f"{table}_{month // 12}{month % 12 + 1:02}01" for month in at]
