"""Searching as a user meets it: a worker fills the index, and the command line finds what was said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.direct import open_store
from penstock.embedded import EmbeddedQueue
from penstock.query import Reader
from penstock.testing.system import System
from tests.system.command import penstock


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> System:
    return System(tmp_path, queue_server)


async def test_a_worker_has_messages_and_streams_found_while_others_are_deleted(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{system.database}"
    async with system.producer() as producer:
        producer.message(session_id="trip", role="user", content="Where is the Café de Flore?")
        async with producer.stream(session_id="trip", role="assistant") as stream:
            for piece in ("In Pa", "ris, by the ", "café Les Deux Magots."):
                stream.write(piece)
        producer.message(session_id="gone", role="user", content="a café that closed")
        await producer.flush(until="queued", timeout=10)
        system.start_worker()
        try:
            async with Reader.open(sql=url) as reader:
                await system.drained()
                await until_found(reader, "cafe", 3)
                producer.delete_session("gone")
                await until_found(reader, "cafe", 2)
                stopped = [each.message.role for each in await reader.search_messages('"paris by the cafe"')]
        finally:
            system.stop()

    ran = await penstock(capsys, "query", "find", "CAFE -flore", "--json", "--sql-url", url)

    assert stopped == ["assistant"]
    assert ran.code == Code.OK
    assert ran.json()["message"]["content"] == "In Paris, by the café Les Deux Magots."
    assert ran.json()["snippet"] == "In Paris, by the café Les Deux Magots."


async def until_found(reader: Reader, text: str, number: int) -> None:
    async with asyncio.timeout(30):
        while len(await reader.search_messages(text)) != number:
            await asyncio.sleep(0.05)


async def test_a_store_without_a_worker_is_indexed_when_its_user_says_so(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/direct.db") as store:
        for number in range(3):
            await store.message(session_id="s", role="user", content=f"word {number}")
        before = len(await store.reader.search_messages("word"))

        assert await store.refresh_search() == 3
        assert (before, len(await store.reader.search_messages("word"))) == (0, 3)
        assert await store.refresh_search() == 0
        assert await store.refresh_search(anew=True) == 3


async def test_what_is_no_search_is_told_with_what_would_be(capsys: pytest.CaptureFixture[str]) -> None:
    ran = await penstock(capsys, "query", "find", "--sql-url", "memory://", "--", "-only")

    assert ran.code == Code.USAGE
    assert "a word that is wanted" in ran.err
