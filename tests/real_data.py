"""Imports a file of real conversations, with and without streaming, and reads every message back.

    python -m tests.real_data FILE.jsonl.gz

Each line of the file is `{"session_id", "messages": [OpenAI chat messages]}`. Uses the `penstock` command, an
embedded queue server and one worker process, all in a temporary folder. Exits with 1 at the first difference.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from penstock.cli.conversations import to_openai
from penstock.embedded import EmbeddedQueue
from penstock.query import Reader

Conversations = dict[str, list[dict[str, Any]]]

_COMMAND = [sys.executable, "-m", "penstock.cli"]


def conversations(file: Path) -> Conversations:
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        return {line["session_id"]: line["messages"] for line in map(json.loads, lines)}


def penstock(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([*_COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"penstock {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


async def compare(environment: dict[str, str], expected: Conversations) -> int:
    """Compare every session with what was sent, value by value and in order; returns the number of messages."""
    checked = 0
    async with Reader.from_env(environment) as reader:
        for session_id, messages in expected.items():
            found = [message async for message in reader.all_messages(session_id=session_id)]
            if [to_openai(message) for message in found] != messages:
                sys.exit(f"session {session_id} came back different")
            session = await reader.session(session_id)
            if session is None or session.message_count != len(messages):
                sys.exit(f"session {session_id} counts {session and session.message_count}, not {len(messages)}")
            checked += len(messages)
        if await reader.count_messages() != checked:
            sys.exit(f"the store holds {await reader.count_messages()} messages, {checked} were sent")
    return checked


def run(file: Path, *flags: str) -> None:
    """One fresh system: import twice, compare after each."""
    expected = conversations(file)
    with tempfile.TemporaryDirectory() as folder, EmbeddedQueue(Path(folder) / "queue") as server:
        environment = {
            **os.environ,
            "PENSTOCK_REDIS_URL": server.url,
            "PENSTOCK_SQL_URL": f"sqlite:///{folder}/penstock.db",
            "PENSTOCK_VECTOR_URL": f"lancedb:///{folder}/vectors",
        }
        worker = subprocess.Popen([*_COMMAND, "worker"], env=environment, stderr=subprocess.DEVNULL)
        try:
            for turn in ("import", "import again"):
                started = time.monotonic()
                penstock(environment, "import", str(file), "--wait", *flags)
                checked = asyncio.run(compare(environment, expected))
                seconds = time.monotonic() - started
                print(
                    f"{turn} {' '.join(flags)}: {checked} messages of {len(expected)} sessions equal, {seconds:.1f} s"
                )
            audit = json.loads(penstock(environment, "audit", "--json"))
            if not audit["balanced"] or audit["lanes"]["messages"]["pending"]:
                sys.exit(f"the audit does not add up: {audit}")
        finally:
            worker.terminate()
            worker.wait(30)


def main() -> None:
    file = Path(sys.argv[1])
    run(file)
    run(file, "--stream")
    print("every message is equal")


if __name__ == "__main__":
    main()
