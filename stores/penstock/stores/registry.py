"""Backends by the scheme of their URL. A driver is imported only when its scheme is opened."""

from __future__ import annotations

import importlib
from typing import cast
from urllib.parse import urlsplit

from penstock.stores.contract import SqlStore
from penstock.stores.errors import MissingExtra, UnknownBackend
from penstock.stores.vector_contract import VectorStore

_SQL = {
    "sqlite": ("penstock.stores.sqlite", "sqlite"),
    "postgresql": ("penstock.stores.postgres", "postgres"),
    "postgres": ("penstock.stores.postgres", "postgres"),
    "memory": ("penstock.stores.memory", ""),
}
_VECTORS = {
    "lancedb": ("penstock.stores.lancedb", "lancedb"),
    "memory": ("penstock.stores.memory", ""),
}


def sql_store(url: str) -> SqlStore:
    """The SQL store that *url* names; nothing is opened yet.

    Raises:
        UnknownBackend: No SQL backend has the URL's scheme.
        MissingExtra: Its driver is not installed.
        BadStoreURL: The rest of the URL makes no sense to the backend.
    """
    return cast("SqlStore", _make(url, _SQL, "sql", "PENSTOCK_SQL_URL"))


def vector_store(url: str) -> VectorStore:
    """The vector store that *url* names; nothing is opened yet. Raises as `sql_store` does."""
    return cast("VectorStore", _make(url, _VECTORS, "vector", "PENSTOCK_VECTOR_URL"))


def _make(url: str, backends: dict[str, tuple[str, str]], sort: str, setting: str) -> object:
    # SQLAlchemy's `sqlite+aiosqlite://` is what people have at hand; the driver is ours to choose.
    scheme = urlsplit(url).scheme.partition("+")[0]
    if scheme not in backends:
        known = ", ".join(f"{name}://" for name in backends)
        raise UnknownBackend(f"no {sort} backend is called {scheme or url!r}; known are {known} (see {setting})")
    module, extra = backends[scheme]
    try:
        backend = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if not extra or (exc.name or "").startswith("penstock"):
            raise
        raise MissingExtra(f"{scheme}:// needs {exc.name}; install it with: pip install 'penstock[{extra}]'") from exc
    return getattr(backend, f"open_{sort}")(url)
