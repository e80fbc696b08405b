"""A real worker, in a process of its own, finds the store by the scheme of its URL and drains a real queue into it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.query import Reader
from penstock.testing import System


async def drained(system: System) -> None:
    system.start_worker()
    async with system.producer() as producer:
        for number in range(100):
            producer.embedding(collection="docs", id=f"{number}", vector=[1.0, number], metadata={"n": number})
        receipt = producer.delete_embedding(collection="docs", id="7")
        await receipt.stored(timeout=30)
    counts = await system.drained()

    assert (counts.accepted, counts.stored, counts.dead) == (101, 101, 0)
    async with Reader.open(vectors=system.vector_url) as reader:
        hits = await reader.search("docs", vector=[1.0, 0.0], top_k=2, where={"n": {"$gte": 6}})
        assert [hit.id for hit in hits] == ["6", "8"]
        assert await reader.count_vectors("docs") == 99


def test_a_worker_drains_embeddings_into_the_store(tmp_path: Path) -> None:
    with System.alone(tmp_path) as system:
        system.settings["PENSTOCK_VECTOR_URL"] = f"sqlite-vectors:///{tmp_path}/vectors.db"

        asyncio.run(drained(system))

        told = system.run("config", "check").decode()
    assert "vector_url is served by penstock-sqlite-vectors 1.0.0 (penstock_sqlite_vectors)." in told.replace("\n", " ")
