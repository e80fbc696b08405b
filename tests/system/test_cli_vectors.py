"""`penstock status --vectors`: how collections lie in the vector store."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.direct.semantic import open_semantic
from penstock.wire.queue import Queue
from tests.system.command import Ran, penstock


async def status(queue: Queue, capsys: pytest.CaptureFixture[str], *options: str) -> Ran:
    place = ("--redis-url", queue.scripts.url, "--namespace", queue.keys.namespace)
    return await penstock(capsys, "status", *place, *options)


async def test_status_tells_fragments_and_versions_of_each_collection(
    queue: Queue, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = f"lancedb:///{tmp_path}/vectors"
    async with open_semantic(url, "hashing:8") as texts:
        await texts.add("notes", [("a", "water")])
        await texts.add("notes", [("b", "fire")])
        await texts.delete("notes", ["a"])

    told = await status(queue, capsys, "--vectors", "--vector-url", url)
    seen = (await status(queue, capsys, "--vectors", "--vector-url", url, "--json")).json()["vectors"]
    plain = (await status(queue, capsys, "--vector-url", url, "--json")).json()["vectors"]

    assert told.code == Code.OK
    assert "fragments" in told.out
    assert "versions" in told.out
    shape = seen["collections"]["notes"]
    assert (seen["error"], shape["vectors"], shape["tombstones"]) == (None, 1, 1)
    assert shape["fragments"] >= 2
    assert shape["versions"] >= 2
    assert plain is None


async def test_a_vector_store_that_does_not_answer_is_told_and_is_no_error(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    told = await status(queue, capsys, "--vectors", "--vector-url", "pgvector://nobody@127.0.0.1:1/none")
    empty = await status(queue, capsys, "--vectors", "--vector-url", "memory://")

    assert told.code == Code.OK
    assert "Vector store: not well (" in told.err
    assert "The vector store has no collections." in empty.err
