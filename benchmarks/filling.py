"""Stores that have held much for long: rows are put in past the store, which is not what is measured with them."""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import asyncpg

from benchmarks.measuring import CONTENT
from penstock.stores.registry import sql_store
from penstock.wire.ids import format_id, from_us

START_US = 1_750_000_000_000_000
METADATA = '{"model": "m-1", "tokens": 128, "tags": ["a", "b"]}'

_AT_ONCE = 250_000
"""Rows of a transaction. The sessions of these rows are of these rows alone: a session lasts for so many."""

_COLUMNS = ("id", "created_at", "session_id", "role", "content", "metadata", "version", "normalised")


class Row(NamedTuple):
    """What one message has of its own."""

    id: bytes
    at_us: int
    session: int


async def fill(url: str, numbers: range, per_session: int) -> None:
    """Put the messages with these numbers into the store at *url*.

    In pieces, each a transaction. At the end nothing is left to be written to the file, or to be cleaned up.
    """
    store = sql_store(url)
    await store.setup()
    await store.close()
    put = _fill_sqlite if url.startswith("sqlite") else _fill_postgres
    for piece in _pieces(numbers):
        await put(url, _rows_of(piece, per_session), _sessions_of(piece, per_session))
    await _settle(url)


def filled(numbers: range, per_session: int) -> Iterator[Row]:
    """What `fill` puts in."""
    return itertools.chain.from_iterable(_rows_of(piece, per_session) for piece in _pieces(numbers))


def _pieces(numbers: range) -> Iterator[range]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))


def _sessions_of(numbers: range, per_session: int) -> range:
    first = numbers.start // per_session
    return range(first, max(numbers.stop // per_session, first + 1))


def _rows_of(numbers: range, per_session: int) -> Iterator[Row]:
    """Their ids rise with time. Those of a session lie far apart, as in life."""
    rng = random.Random(numbers.start)
    sessions = _sessions_of(numbers, per_session)
    for number in numbers:
        at_us = START_US + number * 1_000
        yield Row(_id(at_us, rng.getrandbits(62)), at_us, rng.choice(sessions))


def _id(at_us: int, rest: int) -> bytes:
    """A UUIDv7."""
    return ((at_us // 1_000 << 80) | (0x7000 << 64) | (0b10 << 62) | rest).to_bytes(16, "big")


async def _fill_sqlite(url: str, rows: Iterator[Row], sessions: range) -> None:
    with contextlib.closing(_connect(url)) as connection, connection:
        connection.executemany(
            "INSERT INTO sessions (id, message_count, first_message_at, last_message_at, last_message_id) "
            "VALUES (?, 0, 0, 0, x'00') ON CONFLICT (id) DO NOTHING",
            ((f"s{number}",) for number in sessions),
        )
        numbers = dict(connection.execute("SELECT id, no FROM sessions"))
        connection.executemany(
            "INSERT INTO messages (id, created_at, session_no, role, content, metadata, version, normalised) "
            f"VALUES (?, ?, ?, 'user', '{CONTENT}', '{METADATA}', 0, 0)",
            ((row.id, row.at_us, numbers[f"s{row.session}"]) for row in rows),
        )


def _connect(url: str) -> sqlite3.Connection:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    for pragma in ("synchronous=OFF", "cache_size=-1000000", "wal_autocheckpoint=50000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


async def _fill_postgres(url: str, rows: Iterator[Row], sessions: range) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(
            "INSERT INTO sessions (id, message_count, first_message_at, last_message_at, last_message_id) "
            "SELECT 's' || number, 0, to_timestamp(0), to_timestamp(0), '00000000-0000-0000-0000-000000000000' "
            "FROM generate_series($1::int, $2::int) AS number ON CONFLICT (id) DO NOTHING",
            sessions.start,
            sessions.stop - 1,
        )
        await connection.copy_records_to_table("messages", records=map(_record, rows), columns=_COLUMNS)
    finally:
        await connection.close()


def _record(row: Row) -> tuple[Any, ...]:
    return format_id(row.id), from_us(row.at_us), f"s{row.session}", "user", CONTENT, METADATA, 0, False


async def _settle(url: str) -> None:
    if url.startswith("sqlite"):
        with contextlib.closing(_connect(url)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM (ANALYZE) messages")
        await connection.execute("VACUUM (ANALYZE) sessions")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
