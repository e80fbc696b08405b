"""SQLAlchemy's engine for the database of a store, which a program may use for tables and questions of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from penstock.stores.errors import MissingExtra

if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

Connect = Callable[..., Awaitable[Any]]


def engine_of(
    dialect: str,
    connect: Connect,
    *,
    database: str | None = None,
    adapted: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncEngine:
    """An engine whose connections *connect* opens with the driver, as the store's own are. Nothing is opened yet.

    *adapted* is for SQLAlchemy's side of a connection, *options* are for `create_async_engine`.

    Raises:
        MissingExtra: SQLAlchemy is not installed.
    """
    try:
        from sqlalchemy.engine import URL  # noqa: PLC0415 - an extra
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"an engine needs {exc.name}; install it with: pip install 'penstock[sqlalchemy]'") from exc
    url: URL = URL.create(dialect, database=database)

    def create() -> Any:
        dbapi: Any = engine.dialect.dbapi
        return dbapi.connect(async_creator_fn=connect, **(adapted or {}))

    engine = create_async_engine(url, creator=create, **options)
    return engine
