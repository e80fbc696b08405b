"""`penstock import`: from a file through the queue, and what is said of what cannot be sent."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.conversations import to_openai
from penstock.cli.exits import Code
from penstock.query import Reader
from tests.system.command import Ran, penstock, process

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße 👋 from a user"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "42", "tool_call_id": "c1", "name": "find"},
    {"role": "assistant", "content": "It is forty-two, and that in more words than one piece holds.", "refusal": None},
    {"role": "user", "content": [{"type": "text", "text": "see "}, {"type": "image_url", "image_url": {"url": "u"}}]},
    {"role": "assistant", "tool_calls": []},
]


class System:
    """A queue namespace and a database of this test's own."""

    def __init__(self, redis_url: str, namespace: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.queue = ("--redis-url", redis_url, "--namespace", namespace)
        self.sql_url = f"sqlite:///{folder}/penstock.db"
        self.vector_url = f"lancedb:///{folder}/vectors"
        self.capsys = capsys

    async def run(self, *arguments: str) -> Ran:
        return await penstock(self.capsys, *arguments, *self.queue)

    async def work(self) -> None:
        """Let a worker store everything."""
        stores = ("--sql-url", self.sql_url, "--vector-url", self.vector_url)
        ran = await process("worker", "--burst", *self.queue, *stores)
        assert ran.code == Code.OK, ran.err

    async def chat(self, session_id: str) -> list[dict[str, Any]]:
        async with Reader.open(sql=self.sql_url) as reader:
            return [to_openai(message) async for message in reader.all_messages(session_id=session_id)]

    async def count(self) -> int:
        async with Reader.open(sql=self.sql_url) as reader:
            return await reader.count_messages()


@pytest.fixture
def system(redis_url: str, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> System:
    return System(redis_url, namespace, tmp_path, capsys)


def write(file: Path, *lines: object) -> Path:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return file


@pytest.mark.parametrize("flags", [[], ["--stream"]], ids=["whole", "streamed"])
async def test_conversations_come_back_equal_and_a_second_import_adds_nothing(
    flags: list[str], system: System, tmp_path: Path
) -> None:
    chats = {f"s-{n}": [*CHAT, {"role": "user", "content": f"bye {n}"}] for n in range(3)}
    file = write(tmp_path / "c.jsonl.gz", *({"session_id": key, "messages": chat} for key, chat in chats.items()))

    for _ in range(2):
        ran = await system.run("import", str(file), "--json", *flags)
        await system.work()

        assert (ran.code, ran.json()) == (Code.OK, {"conversations": 3, "messages": 24, "refused": 0})
        assert {key: await system.chat(key) for key in chats} == chats
        assert await system.count() == 24


async def test_a_broken_line_is_told_with_its_number_and_skipped(system: System, tmp_path: Path) -> None:
    good = {"session_id": "good", "messages": CHAT}
    file = write(tmp_path / "c.jsonl", good, "{broken\n", "\n", {"session_id": "s"}, {**good, "session_id": "last"})

    ran = await system.run("import", str(file))

    assert ran.code == Code.NO
    assert f"{file}:2: no JSON" in ran.err
    assert f"{file}:4: messages must be a list, not null; skipped" in ran.err
    assert "14 messages of 2 conversations: the queue holds them; 2 refused." in ran.err


async def test_a_refused_message_costs_only_itself(system: System, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "n": 2**70}, {"role": "user"}]
    file = write(tmp_path / "c.jsonl", {"session_id": "s", "messages": chat})

    ran = await system.run("import", str(file))

    assert ran.code == Code.NO
    assert f"{file}:1: messages[1]: metadata.n" in ran.err
    assert "2 messages of 1 conversation:" in ran.err


async def test_a_damaged_archive_is_told(system: System, tmp_path: Path) -> None:
    file = write(tmp_path / "c.jsonl.gz", {"session_id": "s", "messages": CHAT})
    file.write_bytes(file.read_bytes()[:-20])

    ran = await system.run("import", str(file))

    assert ran.code == Code.NO
    assert "the file cannot be read on" in ran.err


async def test_a_file_that_does_not_exist_is_a_usage_error(system: System) -> None:
    ran = await system.run("import", "absent.jsonl")

    assert ran.code == Code.USAGE


async def test_waiting_for_a_store_without_a_worker_ends_with_its_own_code(system: System, tmp_path: Path) -> None:
    file = write(tmp_path / "c.jsonl", {"session_id": "s", "messages": CHAT})

    ran = await system.run("import", str(file), "--wait", "--timeout", "0.1")

    assert ran.code == Code.AWAY
    told, error = ran.err.splitlines()
    assert told.startswith("No worker runs in the namespace ")
    assert error.startswith("error: ")
