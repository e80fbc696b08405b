"""What a `dbm://` URL says: the file, and how values are kept there."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from penstock.stores.errors import BadStoreURL

_FORMS = "write dbm:///./values for a file here, dbm:////var/lib/values for one from the root"


@dataclass(frozen=True, slots=True, kw_only=True)
class DbmSettings:
    """Every field but `path` is an option of the URL: `?ttl=3600`."""

    path: Path
    """As `dbm.open` has it: some kinds of file add a suffix, or two."""
    ttl: float = 0
    """Seconds to live of values that are written without an expiry, from the moment of the call. 0: for ever."""
    grace: float = 86_400
    """Seconds for which what was deleted, or has expired, does not come back with an older record."""
    timeout: float = 10
    """Seconds to wait for the lock, which another process may hold, before `StoreUnavailable`."""

    def __post_init__(self) -> None:
        for name, least in (("ttl", 0), ("grace", 1), ("timeout", 0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= 10**10):
                raise BadStoreURL(f"{name} is {value:g}; {least} to 10,000,000,000 is accepted")

    def beside(self, suffix: str) -> Path:
        """A file of ours beside it."""
        return self.path.with_name(f"{self.path.name}.{suffix}")


def parse(url: str) -> DbmSettings:
    """The settings that *url* holds. A relative path is taken from the working directory, now.

    Raises:
        BadStoreURL: No file, a host, an unknown option, or an option's value makes no sense.
    """
    parts = urlsplit(url, allow_fragments=False)
    if parts.netloc:
        raise BadStoreURL(f"dbm:// names a host, {parts.netloc.rpartition('@')[2]!r}; {_FORMS}")
    path = unquote(parts.path.removeprefix("/"))
    if not path:
        raise BadStoreURL(f"dbm:// names no file; {_FORMS}")
    return DbmSettings(path=Path(path).absolute(), **_options(parts.query))


def _options(query: str) -> dict[str, float]:
    known = [each.name for each in fields(DbmSettings) if each.name != "path"]
    options: dict[str, float] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise BadStoreURL(f"dbm:// has no option {name!r}; known are {', '.join(known)}")
        try:
            options[name] = float(value)
        except ValueError:
            raise BadStoreURL(f"{name} is {value!r}; a number is needed") from None
    return options
