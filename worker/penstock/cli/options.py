"""The options that many commands share. Each is also an environment variable."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from penstock.wire.settings import CONFIG, Sources, variable_of

REDIS_URL = "redis://127.0.0.1:6379/0"
NAMESPACE = "penstock"
SQL_URL = "sqlite:///./penstock.db"
VECTOR_URL = "lancedb:///./vectors"

_WHERE = "Where"

RedisUrl = Annotated[
    str,
    typer.Option(
        "--redis-url",
        envvar=["PENSTOCK_REDIS_URL", "REDIS_URL"],
        help="The queue server: redis://, rediss:// or unix://.",
        rich_help_panel=_WHERE,
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace", envvar="PENSTOCK_NAMESPACE", help="Prefix of every key in the queue.", rich_help_panel=_WHERE
    ),
]
SqlUrl = Annotated[
    str,
    typer.Option(
        "--sql-url",
        "--sql",
        envvar=["PENSTOCK_SQL_URL", "DATABASE_URL"],
        help="The store of messages, logs and state.",
        rich_help_panel=_WHERE,
    ),
]
KnownSqlUrl = Annotated[
    str | None,
    typer.Option(
        "--sql-url",
        "--sql",
        envvar=["PENSTOCK_SQL_URL", "DATABASE_URL"],
        help="The store of messages, logs and state; without one only the queue is looked at.",
        rich_help_panel=_WHERE,
    ),
]
VectorUrl = Annotated[
    str,
    typer.Option("--vector-url", envvar="PENSTOCK_VECTOR_URL", help="The store of embeddings.", rich_help_panel=_WHERE),
]
Vectors = Annotated[bool, typer.Option("--vectors", help="Also how the collections lie in the vector store.")]
KeyValueUrl = Annotated[
    str,
    typer.Option(
        "--key-value-url",
        envvar="PENSTOCK_KEY_VALUE_URL",
        help="The store of values under keys, where it is not the one of the other state.",
        rich_help_panel=_WHERE,
    ),
]
KnownSpoolDir = Annotated[
    str | None,
    typer.Option(
        "--spool-dir",
        envvar="PENSTOCK_SPOOL_DIR",
        help="Where the producers of this machine keep what the queue does not take.",
        rich_help_panel=_WHERE,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", envvar=CONFIG, metavar="FILE", help="A file of settings, TOML or YAML.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
JsonLines = Annotated[bool, typer.Option("--json", help="JSON on standard output, one object a line.")]


class StoreUrls(NamedTuple):
    """Where the stores are, for commands that look into several."""

    sql: str
    vectors: str
    key_values: str
    """Empty where they are in the SQL store."""


def environment(redis_url: str, namespace: str, sql_url: str, vector_url: str) -> dict[str, str]:
    """These four as the variables that a child process or a settings class reads."""
    return {
        "PENSTOCK_REDIS_URL": redis_url,
        "PENSTOCK_NAMESPACE": namespace,
        "PENSTOCK_SQL_URL": sql_url,
        "PENSTOCK_VECTOR_URL": vector_url,
    }


def take_from_file(environ: MutableMapping[str, str]) -> None:
    """Put what the settings file says of the options here where typer looks: into *environ*.

    Every other setting is read from the file where it is used, so that an error can name the line.
    """
    sources = Sources(environ)
    for name in ("redis_url", "namespace", "sql_url", "vector_url", "key_value_url", "spool_dir"):
        found = sources.find(name)
        if found and found.origin == "file":
            environ[variable_of(name)] = found.value
