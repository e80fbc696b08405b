"""Backends by the scheme of their URL: Penstock's own, those of this program, those of installed packages.

A driver, or a package, is imported only when its scheme is opened; one that takes long to load may be left until its
store is needed (`vector_opener`). Penstock's own schemes come first and cannot be taken; of two others with one scheme
none is opened.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from penstock.stores import installed
from penstock.stores.contract import SqlStore, Store
from penstock.stores.errors import BackendClash, BrokenBackend, MissingExtra, UnknownBackend
from penstock.stores.key_value_contract import KeyValueStore
from penstock.stores.vector_contract import VectorStore

SortName: TypeAlias = Literal["sql", "vector", "key_value"]
Opener: TypeAlias = Callable[[str], Store]
_AnyOpener = TypeVar("_AnyOpener", bound=Opener)

# Scheme: module, and the extra that brings its driver.
_SQL = {
    "sqlite": ("penstock.stores.sqlite", "sqlite"),
    "postgresql": ("penstock.stores.postgres", "postgres"),
    "postgres": ("penstock.stores.postgres", "postgres"),
    "memory": ("penstock.stores.memory", ""),
}
_VECTORS = {
    "lancedb": ("penstock.stores.lancedb", "lancedb"),
    "pgvector": ("penstock.stores.pgvector", "postgres"),
    "postgresql": ("penstock.stores.pgvector", "postgres"),
    "postgres": ("penstock.stores.pgvector", "postgres"),
    "qdrant": ("penstock.stores.qdrant.server", "qdrant"),
    "qdrant-edge": ("penstock.stores.qdrant.edge", "qdrant-edge"),
    "chroma": ("penstock.stores.chroma", "chroma"),
    "milvus": ("penstock.stores.milvus", "milvus"),
    "weaviate": ("penstock.stores.weaviate", "weaviate"),
    "pinecone": ("penstock.stores.pinecone", "pinecone"),
    "memory": ("penstock.stores.memory", ""),
}
_KEY_VALUES = {
    **_SQL,
    "redis": ("penstock.stores.redis", ""),
    "rediss": ("penstock.stores.redis", ""),
    "unix": ("penstock.stores.redis", ""),
    "dbm": ("penstock.stores.dbm", ""),
}


class _Sort(NamedTuple):
    name: SortName
    opener: str
    """What a backend's module calls the function that opens it."""
    setting: str
    contract: type[Any]
    own: Mapping[str, tuple[str, str]]


_SORTS: dict[SortName, _Sort] = {
    "sql": _Sort("sql", "open_sql", "PENSTOCK_SQL_URL", SqlStore, _SQL),
    "vector": _Sort("vector", "open_vector", "PENSTOCK_VECTOR_URL", VectorStore, _VECTORS),
    "key_value": _Sort("key_value", "open_key_values", "PENSTOCK_KEY_VALUE_URL", KeyValueStore, _KEY_VALUES),
}

_registered: dict[tuple[SortName, str], Opener] = {}


def register(scheme: str, *, sort: SortName) -> Callable[[_AnyOpener], _AnyOpener]:
    """Decorate `def open_...(url) -> store` to have it open the URLs of *scheme* in this process.

    Workers and commands are other processes: they find the opener by an entry point of its package
    (`docs/third-party-stores.md`).

    Raises:
        ValueError: No URL can have that scheme, or there is no such sort.
        BackendClash: The scheme is one of Penstock's own, or another function has it for this sort.
    """
    if not re.fullmatch(r"[a-z][a-z0-9.-]*", scheme):
        raise ValueError(f"scheme is {scheme!r}; a small letter, then small letters, digits, dots and hyphens")
    if sort not in _SORTS:
        raise ValueError(f"sort is {sort!r}; one of {', '.join(_SORTS)} is needed")

    def keep(opener: _AnyOpener) -> _AnyOpener:
        taken = _registered.get((sort, scheme))
        if scheme in _SORTS[sort].own:
            raise BackendClash(f"{scheme}:// is Penstock's own; {_name_of(opener)} needs another scheme")
        # A module that is loaded again brings the same function anew.
        if taken is not None and _name_of(taken) != _name_of(opener):
            raise BackendClash(f"{scheme}:// is taken by {_name_of(taken)}; {_name_of(opener)} needs another scheme")
        _registered[sort, scheme] = opener
        return opener

    return keep


def sql_store(url: str) -> SqlStore:
    """The SQL store that *url* names; nothing is opened yet.

    Raises:
        UnknownBackend: No SQL backend has the URL's scheme.
        MissingExtra: Its driver is not installed.
        BrokenBackend: The package that has the scheme cannot be loaded, or keeps to another contract.
        BackendClash: Two packages have the scheme.
        BadStoreURL: The rest of the URL makes no sense to the backend.
    """
    return cast("SqlStore", _opened(url, "sql"))


def vector_store(url: str) -> VectorStore:
    """The vector store that *url* names; nothing is opened yet. Raises as `sql_store` does."""
    return cast("VectorStore", _opened(url, "vector"))


def vector_opener(url: str) -> Callable[[], VectorStore]:
    """What opens the vector store that *url* names, at any later time and on a thread: a driver may load for seconds.

    What can be known before is checked now. A backend with a `check_vector` looks at its URL, and its drivers are
    looked for and not loaded; of any other one the store is opened now. Raises as `sql_store` does.
    """
    sort, scheme = _SORTS["vector"], _scheme_of(url)
    module, extra = sort.own.get(scheme, ("", ""))
    with _driver_needed(scheme, extra):
        backend: Any = importlib.import_module(module) if module else None
    if not hasattr(backend, "check_vector"):
        store = vector_store(url)
        return lambda: store
    backend.check_vector(url)
    for driver in backend.DRIVERS:
        if importlib.util.find_spec(driver) is None:
            raise _missing(scheme, driver, extra)
    return lambda: vector_store(url)


def key_value_store(url: str) -> KeyValueStore:
    """The store of key-values that *url* names; nothing is opened yet. Raises as `sql_store` does."""
    return cast("KeyValueStore", _opened(url, "key_value"))


def served_by(url: str, sort: SortName) -> str | None:
    """Whose code opens *url*, where it is not Penstock's own. Raises as `sql_store` does."""
    scheme = _scheme_of(url)
    return None if scheme in _SORTS[sort].own else _stranger(scheme, _SORTS[sort])[0]


def _opened(url: str, name: SortName) -> Store:
    sort, scheme = _SORTS[name], _scheme_of(url)
    if scheme in sort.own:
        return _opened_own(url, scheme, sort)
    server, opener = _stranger(scheme, sort)
    store = opener(url)
    # What a store lacks would else be missed by the first drain or question that needs it.
    lacking = [each for each in dir(sort.contract) if not each.startswith("_") and not hasattr(store, each)]
    if lacking:
        raise BrokenBackend(
            f"{scheme}:// is served by {server}, whose {type(store).__name__} has no {', '.join(lacking)}: "
            f"it is no {sort.contract.__name__} of this version of Penstock; upgrade the older of the two"
        )
    return store


def _scheme_of(url: str) -> str:
    # SQLAlchemy's `sqlite+aiosqlite://` is what people have at hand; the driver is ours to choose.
    return urlsplit(url).scheme.partition("+")[0]


def _opened_own(url: str, scheme: str, sort: _Sort) -> Store:
    module, extra = sort.own[scheme]
    with _driver_needed(scheme, extra):
        opener: Opener = getattr(importlib.import_module(module), sort.opener)
        return opener(url)


@contextlib.contextmanager
def _driver_needed(scheme: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as exc:
        if not extra or (exc.name or "").startswith("penstock"):
            raise
        raise _missing(scheme, (exc.name or "").partition(".")[0], extra) from exc


def _missing(scheme: str, driver: str, extra: str) -> MissingExtra:
    return MissingExtra(f"{scheme}:// needs {driver}; install it with: pip install 'penstock[{extra}]'")


def _stranger(scheme: str, sort: _Sort) -> tuple[str, Opener]:
    """Who serves *scheme*, in words, and what opens its URLs."""
    offers: dict[str, Opener] = {}
    for backend in installed.backends().get(scheme, ()):
        # To load it is what may register its function.
        loaded = installed.load(backend)
        registered = {each: opener for (each, name), opener in _registered.items() if name == scheme}
        if callable(loaded) and loaded not in registered.values():
            raise BrokenBackend(
                f"{scheme}:// is served by {backend}, a function that is not registered; "
                f'decorate it with @register("{scheme}", sort=...)'
            )
        opener = registered.get(sort.name) if callable(loaded) else getattr(loaded, sort.opener, None)
        if opener is not None:
            offers[str(backend)] = opener
    mine = _registered.get((sort.name, scheme))
    if mine is not None and mine not in offers.values():
        offers[_name_of(mine)] = mine
    if len(offers) > 1:
        raise BackendClash(f"{scheme}:// is claimed by {' and by '.join(sorted(offers))}; remove all but one")
    if not offers:
        raise UnknownBackend(_unknown(scheme, sort))
    return next(iter(offers.items()))


def _unknown(scheme: str, sort: _Sort) -> str:
    servers = {of: _name_of(opener) for (name, of), opener in _registered.items() if name == sort.name}
    servers |= {of: " and ".join(map(str, each)) for of, each in installed.backends().items() if of not in sort.own}
    known = [*(f"{each}://" for each in sort.own), *(f"{of}:// (of {server})" for of, server in servers.items())]
    wanted = f"no {sort.name} backend is called {scheme!r}" if scheme else "the URL of a store begins with a scheme"
    hint = _hint(scheme, sort, servers)
    return f"{wanted}{hint}; known are {', '.join(known)} (see {sort.setting})"


def _hint(scheme: str, sort: _Sort, servers: Mapping[str, str]) -> str:
    others = [each.name for each in _SORTS.values() if scheme in each.own or (each.name, scheme) in _registered]
    if others:
        return f", which is one for {' and '.join(others)}"
    if scheme in servers:
        return f", since {servers[scheme]} has no {sort.opener}"
    near = get_close_matches(scheme, [*sort.own, *servers], n=1)
    return f" (is {near[0]}:// meant?)" if near else ""


def _name_of(opener: Opener) -> str:
    return f"{opener.__module__}:{getattr(opener, '__qualname__', type(opener).__name__)}"
