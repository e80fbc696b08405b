"""`penstock verify`: what one of two stores lacks is told, and sent again."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.producer import Producer
from penstock.testing.system import System
from tests.system.command import Ran, penstock


async def verify(system: System, capsys: pytest.CaptureFixture[str], *options: str) -> Ran:
    return await penstock(
        capsys, "verify", *options, "--ignore-younger", "0",
        "--redis-url", system.server.url, "--namespace", system.namespace,
        "--sql-url", system.sql_url, "--vector-url", system.vector_url,
    )  # fmt: skip


async def sent(producer: Producer) -> str:
    receipt = producer.message(session_id="s", role="user", content="water", embed=True)
    await producer.flush(until="stored", timeout=30)
    return receipt.id


async def test_a_lost_vector_is_found_sent_again_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with System.alone(tmp_path) as system:
        system.settings["PENSTOCK_EMBEDDER"] = "hashing:32"
        system.start_worker()
        async with system.producer() as producer:
            kept = await sent(producer)
            whole = await verify(system, capsys)
            system.settings["PENSTOCK_VECTOR_URL"] = f"lancedb:///{tmp_path}/restored"
            lacking = await verify(system, capsys)
            told = await verify(system, capsys, "--json")
            system.stop()
            system.start_worker()
            repaired = await verify(system, capsys, "--repair")
            await producer.flush(until="stored", timeout=30)
            await sent(producer)
            again = await verify(system, capsys)

    assert (whole.code, whole.err) == (Code.OK, "Both stores have everything of messages.\n")
    assert lacking.code == Code.NO
    assert kept in lacking.out
    assert "the row is there, its vector is not" in lacking.out
    assert told.json()["found"] == [{"lacks": "vector", "of": "message", "id": kept}]
    assert repaired.code == Code.OK
    assert "1 without a vector: sent again" in repaired.err
    assert again.code == Code.OK
