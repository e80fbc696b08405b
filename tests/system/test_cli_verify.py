"""`penstock verify`: what one of two stores lacks is told, and sent again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.direct.semantic import open_semantic
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

    assert whole.code == Code.OK
    assert re.fullmatch(
        r"Both stores have everything of messages from before [-\d]+ [:\d]+ UTC; it has 1 vector\.\n", whole.err
    )
    assert lacking.code == Code.NO
    assert kept in lacking.out
    assert "the row is there, its vector is not" in lacking.out
    assert told.json()["found"] == [{"lacks": "vector", "of": "message", "id": kept}]
    assert repaired.code == Code.OK
    assert "1 without a vector: sent again" in repaired.err
    assert again.code == Code.OK


async def test_texts_are_searched_for_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"lancedb:///{tmp_path}/vectors"
    async with open_semantic(url, "hashing:64") as texts:
        await texts.add("notes", [("n-1", "The pump is broken."), ("n-2", "It rains.")])

    without = await penstock(capsys, "query", "search", "notes", "--text", "pump", "--vector-url", url)
    monkeypatch.setenv("PENSTOCK_EMBEDDER", "hashing:64")
    found = await penstock(capsys, "query", "search", "notes", "--text", "pump", "--vector-url", url, "--top-k", "1")
    both = await penstock(capsys, "query", "search", "notes", "--text", "pump", "--vector", "[1]", "--vector-url", url)

    assert (without.code, "set PENSTOCK_EMBEDDER" in without.err) == (Code.USAGE, True)
    assert "The pump is broken." in found.out
    assert "give one of --vector, --vector-file and --text" in both.err
