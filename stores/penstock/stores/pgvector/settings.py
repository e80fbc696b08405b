"""What a `pgvector://` URL says: the server, the schema of the tables, and what "near" means."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from penstock.stores.errors import BadStoreURL
from penstock.stores.metrics import Metric, own_metric
from penstock.stores.postgres import settings as postgres

_OURS = ("schema", "metric")

_MAX_NAME_BYTES = 63
"""The server cuts a longer name without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSettings:
    """Where the vectors lie. Every field but the first is an option of the URL: `?schema=memory&metric=l2`."""

    server: postgres.PostgresSettings
    """What all other options say. Those of level 2, which is for messages and logs, mean nothing here."""
    schema: str | None = None
    """The tables' schema, which `setup` makes. None: the first of the role's `search_path`."""
    metric: Metric = "cosine"
    """What a search goes by that names none, and what the index is for."""

    def __post_init__(self) -> None:
        if self.schema is not None and not 1 <= len(self.schema.encode()) <= _MAX_NAME_BYTES:
            raise BadStoreURL(f"schema is {self.schema!r}; a name of 1 to {_MAX_NAME_BYTES} bytes is needed")


def parse(url: str) -> VectorSettings:
    """The settings that *url* holds. No message quotes the URL, which may hold a password.

    Raises:
        BadStoreURL: An unknown option, or an option's value makes no sense.
    """
    try:
        parts = urlsplit(url, allow_fragments=False)
    except ValueError as exc:
        raise BadStoreURL(f"no URL of a PostgreSQL server: {exc}") from None
    options = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in options if name in _OURS}
    others = urlencode([each for each in options if each[0] not in _OURS])
    scheme = "postgresql" if parts.scheme == "pgvector" else parts.scheme
    try:
        server = postgres.parse(urlunsplit((scheme, parts.netloc, parts.path, others, "")))
    except BadStoreURL as exc:
        raise BadStoreURL(str(exc).replace("known are ", f"known are {', '.join(_OURS)}, ")) from None
    return VectorSettings(
        server=server,
        schema=ours.get("schema"),
        metric=own_metric(ours),
    )
