"""Values between a record and the wire of PostgreSQL, without a detour over `datetime`, `UUID` and `str`."""

from __future__ import annotations

from typing import Any

EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC, from which the server counts microseconds."""

_END_US = 253_402_300_800_000_000
"""10000-01-01 UTC. The server would keep more, and no `datetime` could be read back."""


async def use_record_types(connection: Any) -> None:
    """Have *connection* take and give times as microseconds since 1970, ids as 16 bytes, and JSON as UTF-8."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=_encode_time, decoder=_decode_time
    )
    await connection.set_type_codec("uuid", schema="pg_catalog", format="binary", encoder=_encode_id, decoder=bytes)
    await connection.set_type_codec("json", schema="pg_catalog", format="binary", encoder=bytes, decoder=bytes)


def _encode_time(us: int) -> tuple[int]:
    if not 0 <= us < _END_US:
        raise ValueError("a time is outside of the years 1970 to 9999")
    return (us - EPOCH_US,)


def _decode_time(value: tuple[int]) -> int:
    return value[0] + EPOCH_US


def _encode_id(value: bytes) -> bytes:
    # The server would call it a broken protocol, which sounds like a connection that may recover.
    if len(value) != 16:
        raise ValueError("an id has 16 bytes")
    return value
