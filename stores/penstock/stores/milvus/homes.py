"""Where a Milvus is, and how its client is made: a file of Milvus Lite's, or a server."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pymilvus import MilvusClient

from penstock.stores.errors import BadStoreURL, StoreUnavailable
from penstock.stores.lockfiles import hold
from penstock.stores.metrics import own_metric, url_options
from penstock.stores.milvus.engine import MilvusEngine
from penstock.stores.points.addresses import server_address
from penstock.stores.points.store import PointStore

PORT = 19530

TIMEOUT_S = 60.0
"""How long a connection may take to come about."""

INDEXED_FROM = 1_024
"""Rows of a segment from which a server makes an index (`indexCoord.segment.minSegmentNumRowsToEnableIndex`)."""

# Each error that we translate would be on stderr, with its traceback and what it quotes.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def open_vector(url: str) -> PointStore:
    """The store of `milvus:///relative/file.db`, `milvus:////absolute/file.db` or `milvus://host:19530/?token=&ssl=`.

    `?metric=` is that of the collections it makes. Nothing is opened yet.

    Raises:
        BadStoreURL: No file that ends in `.db` and no host, both, or an option that is not known. No token is in its
            words.
    """
    parts = urlsplit(url)
    file = unquote(parts.path[1:])
    if bool(parts.netloc) == bool(file) or (file and not file.endswith(".db")):
        raise BadStoreURL(
            "milvus:// needs a file that ends in .db, or a host: milvus:///relative/file.db, "
            "milvus:////absolute/file.db or milvus://localhost:19530/"
        )
    options = url_options(url, "metric") if file else url_options(url, "metric", "ssl", "token")
    store = PointStore(MilvusEngine(Lite(Path(file)) if file else _server(url, options)), own_metric(options))
    if file:
        store.capabilities = replace(store.capabilities, exact_below=None)
    return store


def _server(url: str, options: Mapping[str, str]) -> Server:
    at = server_address(url, options, port=PORT, key="token", tls="ssl")
    return Server(host=at.host, port=at.port, ssl=at.tls, token=at.key)


@dataclass(frozen=True, slots=True)
class Lite:
    """A file (a folder, to be exact) that one process has open at a time: Lite itself lets several."""

    path: Path

    alone = True
    exact_below = 0

    def __str__(self) -> str:
        return f"Milvus Lite in {self.path}"

    def make(self) -> None:
        """Make the folder around it where it is not there."""
        self.path.absolute().parent.mkdir(parents=True, exist_ok=True)

    def connect(self, held: contextlib.ExitStack) -> MilvusClient:
        """A client, which *held* closes with the server that Lite runs in this process.

        Raises:
            StoreUnavailable: There is no folder around it, or another store has it open.
        """
        from milvus_lite.server_manager import server_manager_instance  # noqa: PLC0415 - a server's client needs no Lite

        path = self.path.absolute()
        if not path.parent.is_dir():
            raise StoreUnavailable(f"folder {path.parent} is not there; was the store set up?")
        hold(
            path.with_name(f"{path.name}.lock"),
            held,
            f"{self}: another process has the file open, and only one can",
        )
        held.callback(server_manager_instance.release_server, str(path))
        client = MilvusClient(str(path))
        held.callback(client.close)
        return client


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that others may use, too."""

    host: str
    port: int = PORT
    ssl: bool = False
    token: str | None = field(default=None, repr=False)

    alone = False
    exact_below = INDEXED_FROM

    def __str__(self) -> str:
        return f"Milvus at {self.host}:{self.port}"

    def make(self) -> None:
        """Nothing to make."""

    def connect(self, held: contextlib.ExitStack) -> MilvusClient:
        """A client, which *held* closes."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        client = MilvusClient(
            f"{'https' if self.ssl else 'http'}://{host}:{self.port}", token=self.token or "", timeout=TIMEOUT_S
        )
        held.callback(client.close)
        return client
