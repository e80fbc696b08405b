"""What a `postgresql://` URL says: the server, and how many connections are kept to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

_SQLALCHEMY = ("pool_size", "max_overflow", "pool_recycle")
"""Its names for what ours say. `pool_pre_ping` is the same in both."""

_POOL_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """How the server is reached. Every field but the first two is an option of the URL: `?pool_max=8`."""

    dsn: str = field(repr=False)
    """For the driver. Holds the password."""
    where: str
    """For people: hosts and database, no password."""
    pool_min: int = 1
    """Connections that are opened at once. Those beyond are closed when nobody has used them for 5 minutes."""
    pool_max: int = _POOL_MAX
    """Connections at most. Two saturate a server of two cores; more hide a network's latency."""
    pool_recycle_s: int = 1800
    """A connection older than this is replaced when it is needed next, so that it follows a failover behind a name and
    the server frees what its session has gathered. 0: never."""
    pool_pre_ping: bool = True
    """Ask a connection that nobody used for a second whether it lives, and replace it unseen where it does not. That
    finds one that a firewall has forgotten in `connect_timeout` instead of `timeout` seconds."""
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
        for name in ("pool_recycle_s", "statement_cache_size"):
            if not 0 <= getattr(self, name) < 2**31:
                raise BadStoreURL(f"{name} is {getattr(self, name)}; 0 to {2**31 - 1} is accepted")
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
    theirs: dict[str, int] = {}
    libpq: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in known:
            ours[name] = _FORMS.get(name, _number)(name, value)
        elif name in _SQLALCHEMY:
            theirs[name] = _number(name, value)
        elif name in _LIBPQ:
            libpq[name] = value
        else:
            raise BadStoreURL(f"postgresql:// has no option {name!r}; known are {', '.join(known)} and those of libpq")
    for name, number in _from_sqlalchemy(theirs).items():
        if name in ours:
            raise BadStoreURL(f"{name} is given twice, also as {' and '.join(theirs)}; give one of them")
        ours[name] = number
    return ours, libpq


def _from_sqlalchemy(theirs: Mapping[str, int]) -> dict[str, int]:
    """The options of SQLAlchemy's pool in our words. Without `max_overflow` there is none, not 10."""
    ours: dict[str, int] = {}
    if "pool_size" in theirs or "max_overflow" in theirs:
        size, overflow = theirs.get("pool_size", _POOL_MAX), theirs.get("max_overflow", 0)
        if size < 1 or overflow < 0:
            raise BadStoreURL(f"pool_size is {size} and max_overflow {overflow}; a pool without a limit is not offered")
        ours["pool_max"] = size + overflow
    if "pool_recycle" in theirs:
        ours["pool_recycle_s"] = max(theirs["pool_recycle"], 0)
    return ours


def _flag(name: str, value: str) -> bool:
    try:
        return _FLAGS[value.lower()]
    except KeyError:
        raise BadStoreURL(f"{name} is {value!r}; true or false is needed") from None


def _number(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as exc:
        raise BadStoreURL(f"{name} is {value!r}; a whole number is needed") from exc


_FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False, "on": True, "off": False}
_FORMS: Mapping[str, Callable[[str, str], Any]] = {"pool_pre_ping": _flag, "period": lambda _, value: value}
"""What is no number."""
