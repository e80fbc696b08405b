"""What the URLs of servers with vectors say alike: where, with which key, and whether the way there is encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from penstock.stores.errors import BadStoreURL

MAX_PORT = 65_535


class ServerAddress(NamedTuple):
    """A server's address."""

    host: str
    port: int
    key: str | None
    tls: bool


def server_address(url: str, options: Mapping[str, str], *, port: int, key: str, tls: str) -> ServerAddress:
    """The address in *url*, which has these *options*; *port* is the usual one.

    *key* and *tls* name the options for them. The key may be the URL's password instead. Where there is one, TLS is
    spoken unless the option says otherwise.

    Raises:
        BadStoreURL: No host, a path, or a port or option that makes no sense. No key is in its words.
    """
    parts = urlsplit(url)
    given = given_port(url, port)
    if not parts.hostname or parts.path not in {"", "/"}:
        example = f"{parts.scheme}://localhost:{port}/?{key}=...&{tls}=true"
        raise BadStoreURL(f"{parts.scheme}:// needs a host and no path: {example}")
    found = options.get(key) or (unquote(parts.password) if parts.password else None)
    return ServerAddress(parts.hostname, given or port, found, speaks_tls(options, tls, key, is_usual=bool(found)))


def given_port(url: str, usual: int) -> int | None:
    """The port in *url*, where there is one.

    Raises:
        BadStoreURL: It is none; *usual* is then told.
    """
    parts = urlsplit(url)
    try:
        return parts.port
    except ValueError:
        message = f"the port of {parts.scheme}:// is no number from 0 to {MAX_PORT}; {usual} is usual"
        raise BadStoreURL(message) from None


def speaks_tls(options: Mapping[str, str], tls: str, key: str, *, is_usual: bool) -> bool:
    """What the option *tls* says, which *is_usual* where there is a *key*.

    Raises:
        BadStoreURL: Neither true nor false.
    """
    found = options.get(tls, "true" if is_usual else "false")
    if found not in {"true", "false"}:
        raise BadStoreURL(f"{tls} is {found!r}; true or false is needed. It is true where there is {_a(key)}")
    return found == "true"


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
