"""A vector between a record, little-endian float32, and the wire of the extension, big-endian float32 behind a head."""

from __future__ import annotations

import array
import struct
from functools import cache
from typing import Any

from penstock.stores.embeddings import FLOAT_BYTES
from penstock.stores.postgres.codecs import use_record_types

_HEAD = struct.Struct(">hh")
"""How many numbers follow, and a zero."""


async def use_vector_types(connection: Any, schema: str) -> None:
    """Have *connection* take and give what records hold, vectors of the extension in *schema* among it.

    Text would cost 16 times as much for 384 numbers.
    """
    await use_record_types(connection)
    await connection.set_type_codec("vector", schema=schema, format="binary", encoder=_encoded, decoder=_decoded)


def _encoded(vector: bytes) -> bytes:
    return _head(len(vector) // FLOAT_BYTES) + _turned(vector)


def _decoded(value: bytes) -> bytes:
    return _turned(value[_HEAD.size :])


@cache
def _head(dimension: int) -> bytes:
    return _HEAD.pack(dimension, 0)


def _turned(floats: bytes) -> bytes:
    """Between little-endian and big-endian. As integers: a float of another order might be a NaN that is mended."""
    words = array.array("I", floats)
    words.byteswap()
    return words.tobytes()
