"""What a `redis://` URL says: the server, and how values are kept there."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from penstock.stores.errors import BadStoreURL
from penstock.wire.scripts import hide_password


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Every field but `url` and `where` is an option of the URL: `?ttl=3600`. The others are the client's."""

    url: str
    """For the client."""
    where: str
    """For people: without a password."""
    ttl: float = 0
    """Seconds to live of values that are written without an expiry, from the moment of the call. 0: for ever."""
    grace: float = 86_400
    """Seconds for which what was deleted, or has expired, does not come back with an older record."""
    prefix: str = "penstock"
    """What every key begins with."""
    connections: int = 16
    """Most of one process. Further calls wait for one."""
    timeout: float = 10
    """Seconds for an answer, and for a connection."""

    def __post_init__(self) -> None:
        for name, least in (("ttl", 0), ("grace", 1), ("connections", 1), ("timeout", 0.001)):
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= 10**10):
                raise BadStoreURL(f"{name} is {value:g}; {least:g} to 10,000,000,000 is accepted")


def parse(url: str) -> RedisSettings:
    """The settings that *url* holds.

    Raises:
        BadStoreURL: An option's value makes no sense.
    """
    parts = urlsplit(url)
    own = {each.name: each.default for each in fields(RedisSettings) if each.name not in ("url", "where")}
    given: dict[str, float | str] = {}
    others: list[tuple[str, str]] = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in own:
            given[name] = value if name == "prefix" else _number(name, value, whole=isinstance(own[name], int))
        else:
            others.append((name, value))
    bare = urlunsplit(parts._replace(query=urlencode(others)))
    return RedisSettings(url=bare, where=hide_password(bare), **given)  # type: ignore[arg-type] # each as its field has it


def _number(name: str, value: str, *, whole: bool) -> float:
    try:
        return int(value) if whole and name == "connections" else float(value)
    except ValueError:
        raise BadStoreURL(f"{name} is {value!r}; a number is needed") from None
