"""Listings of `penstock query`: the options they share, and pages for people and for programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import orjson
import typer

from penstock.cli.display import print_json, print_table, say
from penstock.cli.exits import Code, Stop

if TYPE_CHECKING:
    from penstock.query import Page, Reader

T = TypeVar("T")
Row = Sequence[object]

MOST = 1000


def time_of(text: str) -> datetime:
    """The point in time that an option gives; UTC where it names no zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; 2026-01-31 or 2026-01-31T12:00:00Z is needed") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]
After = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on after a page, with the cursor it ended with.")]
All = Annotated[bool, typer.Option("--all", help="Every page, one after the other.")]
Since = Annotated[datetime | None, typer.Option(parser=time_of, metavar="TIME", help="Created then or later; UTC.")]
Until = Annotated[datetime | None, typer.Option(parser=time_of, metavar="TIME", help="Created before; UTC.")]
Newest = Annotated[bool, typer.Option("--newest-first", help="The latest first.")]
Agent = Annotated[str | None, typer.Option("--agent", "--agent-id", help="Of this agent.")]
OfSession = Annotated[str | None, typer.Option("--session", "--session-id", help="Of this session.")]
OfRole = Annotated[list[str] | None, typer.Option("--role", help="user, assistant, tool, ...; may be repeated.")]
OfUser = Annotated[str | None, typer.Option("--user", "--user-id", help="Of this user.")]
Where = Annotated[
    str | None, typer.Option(metavar="JSON", help='A filter on the metadata or data: \'{"lang": "en"}\'.')
]


def condition(where: str | None) -> Any:
    """What `--where` says; None where it is not given."""
    return None if where is None else parsed("where", where)


def parsed(option: str, text: str | bytes) -> Any:
    """The JSON of *option*."""
    try:
        return orjson.loads(text)
    except ValueError as exc:
        raise Stop(f"--{option} is no JSON: {exc}", Code.USAGE) from exc


def compact(data: Mapping[str, Any]) -> str:
    """*data* as JSON on one line; nothing for nothing."""
    return orjson.dumps(dict(data)).decode() if data else ""


def joined(*parts: str | None) -> str:
    """Those of *parts* that say something, with spaces between."""
    return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """How pages are asked for and shown."""

    page: Callable[[Reader, str | None], Awaitable[Page[T]]]
    """Asks for the page after a cursor."""
    columns: Sequence[str]
    row: Callable[[T], Row]
    after: str | None
    every: bool
    json: bool
    key_value_url: str = ""
    """Where values under keys are, if not in the SQL store."""

    def show(self, sql_url: str) -> None:
        """Print the page, or all that follow."""
        asyncio.run(self._show(sql_url))

    async def _show(self, sql_url: str) -> None:
        found = 0
        async for items, cursor in self._pages(sql_url):
            found += len(items)
            self._print(items)
            if cursor and not self.every:
                say(f"More: --after {cursor}")
                return
        if not found:
            say("Nothing found.")

    async def _pages(self, sql_url: str) -> AsyncIterator[tuple[Sequence[T], str | None]]:
        from penstock.query import Reader  # noqa: PLC0415 - drivers are slow to load

        async with Reader.open(sql=sql_url, key_values=self.key_value_url or None) as reader:
            got = await self.page(reader, self.after)
            yield got.items, got.next
            while got.next is not None:
                got = await self.page(reader, got.next)
                yield got.items, got.next

    def _print(self, items: Sequence[T]) -> None:
        if self.json:
            for item in items:
                print_json(item)
        elif items:
            print_table(self.columns, [self.row(item) for item in items], ["messages"])
