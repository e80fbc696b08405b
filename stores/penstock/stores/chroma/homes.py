"""Where a Chroma is, and how its client is made: a folder of this process's own, or a server."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import chromadb
from chromadb.config import Settings

from penstock.stores.chroma.engine import ChromaEngine
from penstock.stores.chroma.leftovers import remove_leftovers
from penstock.stores.errors import BadStoreURL, StoreUnavailable
from penstock.stores.lockfiles import hold
from penstock.stores.metrics import own_metric, url_options
from penstock.stores.points.addresses import server_address
from penstock.stores.points.store import PointStore

PORT = 8000
"""Of `chroma run`."""

TIMEOUT_S = 60.0
"""How long a server's answer may take. The client's own is for ever."""


def open_vector(url: str) -> PointStore:
    """The store of `chroma:///relative/folder`, `chroma:////absolute/folder` or `chroma://host:8000/?ssl=&token=`.

    `?metric=` is that of the collections it makes. Nothing is opened yet.

    Raises:
        BadStoreURL: No folder and no host, both, or an option that is not known. No token is in its words.
    """
    parts = urlsplit(url)
    folder = unquote(parts.path[1:])
    if bool(parts.netloc) == bool(folder):
        raise BadStoreURL(
            "chroma:// needs a folder or a host: chroma:///relative/folder, chroma:////absolute/folder or "
            "chroma://localhost:8000/"
        )
    options = url_options(url, "metric") if folder else url_options(url, "metric", "ssl", "token")
    home = Folder(Path(folder)) if folder else _server(url, options)
    return PointStore(ChromaEngine(home), own_metric(options))


def _server(url: str, options: Mapping[str, str]) -> Server:
    at = server_address(url, options, port=PORT, key="token", tls="ssl")
    return Server(host=at.host, port=at.port, ssl=at.tls, token=at.key)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that one process has open at a time: Chroma itself lets several write, and loses what they do."""

    path: Path

    alone = True

    def __str__(self) -> str:
        return f"Chroma in {self.path}"

    def make(self) -> None:
        """Make the folder where it is not there."""
        self.path.mkdir(parents=True, exist_ok=True)

    def connect(self, held: contextlib.ExitStack) -> Any:
        """A client, which *held* closes.

        Raises:
            StoreUnavailable: There is no folder, or another store has it open.
        """
        if not self.path.is_dir():
            raise StoreUnavailable(f"folder {self.path} is not there; was the store set up?")
        hold(self.path / "penstock.lock", held, f"{self}: another process has the folder open, and only one can")
        client: Any = chromadb.PersistentClient(self.path.absolute(), _settings())
        held.callback(client.close)
        return client

    def clear(self) -> None:
        """Remove what dropped collections have left; the next drop does, where it fails."""
        with contextlib.suppress(OSError, sqlite3.Error):
            remove_leftovers(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that others may use, too."""

    host: str
    port: int = PORT
    ssl: bool = False
    token: str | None = field(default=None, repr=False)

    alone = False

    def __str__(self) -> str:
        return f"Chroma at {self.host}:{self.port}"

    def make(self) -> None:
        """Nothing to make."""

    def connect(self, held: contextlib.ExitStack) -> Any:
        """A client, which *held* closes."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        settings = _settings()
        if not self.ssl:  # there are no certificates to look at, and to read the system's takes 50 ms
            settings.chroma_server_ssl_verify = False
        headers = {"x-chroma-token": self.token} if self.token else None
        client: Any = chromadb.HttpClient(host, self.port, self.ssl, headers, settings)
        held.callback(client.close)
        for session in _sessions(client):
            session.timeout = TIMEOUT_S
            held.callback(session.close)
        return client

    def clear(self) -> None:
        """Nothing that a client could do."""


def _sessions(client: Any) -> Iterator[Any]:
    """The connections of *client*, which has no words for how long it waits, and leaves them open (1.5.9)."""
    for each in (client, getattr(client, "_admin_client", None)):
        session = getattr(getattr(each, "_server", None), "_session", None)
        if session is not None:
            yield session


def _settings() -> Settings:
    """Those of nobody's `.env`, and nothing is told to anybody."""
    return Settings(_env_file=None, anonymized_telemetry=False)  # type: ignore[call-arg]
