"""What a `sqlite://` URL says: the file, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from penstock.stores.errors import BadStoreURL

_LEAST_LOG_PAGES, _MOST_LOG_PAGES = 5_000, 20_000
_LOG_OF_FILE = 16
"""A log has at most this part of its file, within those bounds."""

_FORMS = "write sqlite:///./penstock.db for a file here, sqlite:////var/lib/penstock.db for one from the root"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteSettings:
    """How the file is written. Every field but `path` is an option of the URL: `?synchronous=NORMAL`."""

    path: Path
    synchronous: str = "FULL"
    """FULL: a commit survives power loss. NORMAL: the last commits may not, the file stays sound."""
    busy_timeout_ms: int = 10_000
    """How long to wait for another process's transaction before `StoreUnavailable`."""
    cache_kib: int = 65_536
    """Page cache of the writing connection. More than 64 MB gained nothing: dirty pages are the cost."""
    wal_autocheckpoint: int | None = None
    """Pages of the log between checkpoints. Unless it is given, a 16th of the file's: 40 MB, and 160 MB from 2.5 GB on.
    Few and large checkpoints write each hot index page once, and the larger the file, the more of them are hot."""
    max_size_mb: int = 0
    """Above this the file is full, which is `StoreUnavailable`. 0: as large as the disk allows."""
    keep_size_mb: int = 0
    """Above this upkeep removes the oldest logs, then the oldest messages, but none of the last hour. 0: no limit."""

    def __post_init__(self) -> None:
        if self.synchronous not in ("FULL", "NORMAL", "EXTRA"):
            raise BadStoreURL(f"synchronous is {self.synchronous!r}; FULL, NORMAL or EXTRA is needed")
        for name in ("busy_timeout_ms", "cache_kib", "wal_autocheckpoint", "max_size_mb", "keep_size_mb"):
            if not 0 <= (getattr(self, name) or 0) < 2**31:
                raise BadStoreURL(f"{name} is {getattr(self, name)}; 0 to {2**31 - 1} is accepted")
        if 0 < self.max_size_mb <= self.keep_size_mb:
            raise BadStoreURL(
                f"keep_size_mb is {self.keep_size_mb}; it must be below max_size_mb ({self.max_size_mb}), or the file "
                f"is full before anything is removed"
            )

    def log_pages(self, file_pages: int) -> int:
        """Pages of the log between checkpoints of a file that has *file_pages*."""
        if self.wal_autocheckpoint is not None:
            return self.wal_autocheckpoint
        return min(max(_LEAST_LOG_PAGES, file_pages // _LOG_OF_FILE), _MOST_LOG_PAGES)

    def uri(self, mode: str) -> str:
        """The file for `sqlite3.connect(…, uri=True)`. Only the mode `rwc` creates it."""
        return f"file:{quote(str(self.path))}?mode={mode}"


def parse(url: str) -> SqliteSettings:
    """The settings that *url* holds. A relative path is taken from the working directory, now.

    Raises:
        BadStoreURL: No file, a host, an unknown option, or an option's value makes no sense.
    """
    parts = urlsplit(url, allow_fragments=False)
    if parts.netloc:
        raise BadStoreURL(f"sqlite:// names a host, {parts.netloc.rpartition('@')[2]!r}; {_FORMS}")
    path = unquote(parts.path.removeprefix("/"))
    if path in ("", ":memory:"):
        raise BadStoreURL(f"sqlite:// names no file; {_FORMS}, or memory:// for a store without one")
    return SqliteSettings(path=Path(path).absolute(), **_options(parts.query))


def _options(query: str) -> dict[str, Any]:
    defaults = {each.name: each.default for each in fields(SqliteSettings) if each.name != "path"}
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in defaults:
            raise BadStoreURL(f"sqlite:// has no option {name!r}; known are {', '.join(defaults)}")
        options[name] = value.upper() if isinstance(defaults[name], str) else _number(name, value)
    return options


def _number(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as exc:
        raise BadStoreURL(f"{name} is {value!r}; a whole number is needed") from exc
