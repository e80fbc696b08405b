"""A search by each vector driver alone, in what Penstock has stored: what the store's own search is held against."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

_COLUMNS = ["id", "text", "metadata", "_distance"]

Search = Callable[[bytes], Awaitable[Sequence[str]]]


@contextlib.asynccontextmanager
async def bare_search(url: str, collection: str, top_k: int) -> AsyncIterator[Search | None]:
    """A search of the driver that *url* names, by cosine, with an open connection; None for a driver not known here."""
    opened = _DRIVERS.get(urlsplit(url).scheme)
    if opened is None:
        yield None
        return
    async with opened(url, collection, top_k) as search:
        yield search


@contextlib.asynccontextmanager
async def _lancedb(url: str, collection: str, top_k: int) -> AsyncIterator[Search]:
    import lancedb  # noqa: PLC0415 - only the driver that is asked for
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    connection: Any = await lancedb.connect_async(unquote(urlsplit(url).path[1:]))
    found = await connection.open_table(collection)

    async def search(vector: bytes) -> list[str]:
        query: Any = found.query().nearest_to(pa.array(np.frombuffer(vector, "<f4")))
        rows = await query.distance_type("cosine").limit(top_k).select(_COLUMNS).to_arrow()
        return [row["id"] for row in rows.to_pylist()]

    yield search
    connection.close()


@contextlib.asynccontextmanager
async def _pgvector(url: str, collection: str, top_k: int) -> AsyncIterator[Search]:
    import asyncpg  # noqa: PLC0415

    from penstock.stores.pgvector.codecs import use_vector_types  # noqa: PLC0415
    from penstock.stores.pgvector.extension import found_extension  # noqa: PLC0415
    from penstock.stores.pgvector.settings import parse  # noqa: PLC0415

    connection = await asyncpg.connect(parse(url).server.dsn)
    await use_vector_types(connection, await found_extension(connection))
    await connection.execute("SET hnsw.ef_search = 100")
    number = await connection.fetchval("SELECT number FROM vector_collections WHERE name = $1", collection)
    sql = (
        f"SELECT key, text, metadata, vector <=> $1 AS distance FROM vectors_{number} "
        f"ORDER BY vector <=> $1 LIMIT {top_k}"
    )

    async def search(vector: bytes) -> list[str]:
        return [row["key"] for row in await connection.fetch(sql, vector)]

    yield search
    await connection.close()


_DRIVERS: dict[str, Callable[[str, str, int], contextlib.AbstractAsyncContextManager[Search]]] = {
    "lancedb": _lancedb,
    "pgvector": _pgvector,
}
