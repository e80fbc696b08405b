"""Databases as earlier releases made them, and what lies in them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from penstock.wire.ids import id_from_key
from penstock.wire.records import Message
from tests.conformance.postgres_server import Schema

FOLDER = Path(__file__).parent

OLD = Message(id_from_key("m0"), 1_750_000_000_000_000, "s", "user", "from long ago 👩‍🚀", b'{"a":1}')
"""In every dump."""


def dumps(backend: str) -> list[Path]:
    """The dumps of a backend, oldest first."""
    return sorted(FOLDER.glob(f"{backend}_*.sql"))


def load_sqlite(dump: Path, path: Path) -> str:
    """The URL of a new file with the contents of *dump*."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text("utf-8"))
    return f"sqlite:///{path}"


def load_postgres(dump: Path, schema: Schema) -> str:
    """The URL of *schema*, with the contents of *dump*."""
    schema.script(dump.read_text("utf-8"))
    return schema.url
