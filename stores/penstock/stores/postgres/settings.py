"""What a `postgresql://` URL says: the server, and how many connections are kept to it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from penstock.stores.errors import BadStoreURL
from penstock.stores.postgres.periods import PERIODS

_SCHEMES = ("postgresql", "postgres")

_LIBPQ = (
    "application_name", "dbname", "gsslib", "host", "krbsrvname", "options", "passfile", "password", "port",
    "service", "servicefile", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert", "sslcrl", "sslkey",
    "sslmode", "sslnegotiation", "sslpassword", "sslrootcert", "target_session_attrs", "user",
)  # fmt: skip
"""libpq's own options that asyncpg understands; they pass through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """How the server is reached. Every field but the first two is an option of the URL: `?pool_max=8`."""

    dsn: str = field(repr=False)
    """For the driver. Holds the password."""
    where: str
    """For people: hosts and database, no password."""
    pool_min: int = 1
    """Connections that are kept open."""
    pool_max: int = 4
    """Connections at most. Two saturate a server of two cores; more hide a network's latency."""
    timeout: int = 30
    """Seconds to wait for a statement or a free connection before `StoreUnavailable`."""
    connect_timeout: int = 10
    """Seconds to wait for a new connection."""
    statement_cache_size: int = 100
    """Prepared statements kept by each connection. 0 behind a PgBouncer that pools transactions."""
    level: int = 1
    """2 keeps messages and logs in partitions by time. A database that is at level 2 stays there."""
    period: str = "month"
    """What one partition holds at level 2: `day`, `week` or `month`. Another one holds for partitions made later."""

    def __post_init__(self) -> None:
        for name in ("pool_max", "timeout", "connect_timeout"):
            if not 1 <= getattr(self, name) < 2**31:
                raise BadStoreURL(f"{name} is {getattr(self, name)}; 1 to {2**31 - 1} is accepted")
        if not 0 <= self.pool_min <= self.pool_max:
            raise BadStoreURL(f"pool_min is {self.pool_min}; 0 to pool_max ({self.pool_max}) is accepted")
        if not 0 <= self.statement_cache_size < 2**31:
            raise BadStoreURL(f"statement_cache_size is {self.statement_cache_size}; 0 to {2**31 - 1} is accepted")
        if self.level not in (1, 2):
            raise BadStoreURL(f"level is {self.level}; 1 (plain tables) and 2 (tables in partitions) are accepted")
        if self.period not in PERIODS:
            raise BadStoreURL(f"period is {self.period!r}; {', '.join(PERIODS)} are accepted")


def parse(url: str) -> PostgresSettings:
    """The settings that *url* holds. No message quotes the URL, which may hold a password.

    Raises:
        BadStoreURL: No `postgresql://` URL, an unknown option, or an option's value makes no sense.
    """
    try:
        parts = urlsplit(url, allow_fragments=False)
    except ValueError as exc:
        raise BadStoreURL(f"no URL of a PostgreSQL server: {exc}") from None
    if parts.scheme.partition("+")[0] not in _SCHEMES:
        raise BadStoreURL("no URL of a PostgreSQL server; write postgresql://user:password@host:5432/database")
    ours, libpq = _options(parts.query)
    hosts = parts.netloc.rpartition("@")[2] or libpq.get("host") or "the local server"
    return PostgresSettings(
        dsn=urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(libpq), "")),
        where=f"{hosts}/{parts.path.strip('/') or libpq.get('dbname', '')}",
        **ours,
    )


def _options(query: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Ours as what they stand for, and libpq's as they are."""
    known = [each.name for each in fields(PostgresSettings) if each.name not in ("dsn", "where")]
    ours: dict[str, Any] = {}
    libpq: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in known:
            ours[name] = value if name == "period" else _number(name, value)
        elif name in _LIBPQ:
            libpq[name] = value
        else:
            raise BadStoreURL(f"postgresql:// has no option {name!r}; known are {', '.join(known)} and those of libpq")
    return ours, libpq


def _number(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as exc:
        raise BadStoreURL(f"{name} is {value!r}; a whole number is needed") from exc
