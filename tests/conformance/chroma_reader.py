"""A Chroma server in a process of its own, and what a Chroma keeps, read from a copy of its folder."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import orjson
from chromadb.config import Settings

from penstock.testing.conformance.vector_records import Row
from tests.conformance.qdrant_reader import quick_folder

SETTINGS = Settings(_env_file=None, anonymized_telemetry=False)  # type: ignore[call-arg]


def read_collection(folder: Path, collection: str) -> dict[str, Row]:
    """Every vector by key, tombstones left out, from a copy of *folder*; empty without a collection."""
    with quick_folder() as home:
        client: Any = chromadb.PersistentClient(shutil.copytree(folder, home / "copy"), SETTINGS)
        try:
            return read_rows(client, collection)
        finally:
            client.close()


def read_rows(client: Any, collection: str) -> dict[str, Row]:
    """The same by a *client* that is not the store's."""
    names = {(each.metadata or {}).get("penstock"): each.name for each in client.list_collections()}
    if collection not in names:
        return {}
    there = client.get_collection(names[collection], embedding_function=None)
    found = there.get(include=["metadatas", "embeddings"])
    rows: dict[str, Row] = {}
    for key, vector, metadata in zip(found["ids"], found["embeddings"], found["metadatas"], strict=True):
        sent = base64.b64decode(metadata["vector"]) if "vector" in metadata else np.array(vector, "<f4").tobytes()
        if "hidden" not in metadata or "vector" in metadata:
            rows[key] = Row(
                np.frombuffer(sent, "<f4").tolist(),
                metadata.get("text"),
                orjson.loads(metadata.get("metadata", "{}")),
                metadata["version"],
            )
    return rows


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of Chroma's own server (`chroma run`) over *folder*; it is killed afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder), "--host", "127.0.0.1"]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield port
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # nothing tells when it listens
        else:
            return
    raise RuntimeError(f"chroma run does not answer on port {port}; exit code {server.poll()}")
