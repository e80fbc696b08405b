"""`penstock query`: what is stored. It reads the stores alone and needs no queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import orjson
import typer

from penstock.cli.display import print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import SQL_URL, VECTOR_URL, JsonLines, SqlUrl, VectorUrl
from penstock.stores.rows import Hit, Session, StoredLog, StoredMessage

if TYPE_CHECKING:
    from penstock.query import Page, Reader

T = TypeVar("T")
Row = Sequence[object]

app = typer.Typer(help="Read what is stored. Needs no queue.", no_args_is_help=True)

_MOST = 1000


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; 2026-01-31 or 2026-01-31T12:00:00Z is needed") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Limit = Annotated[int, typer.Option(min=1, max=_MOST, help="At most this many.")]
After = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on after a page, with the cursor it ended with.")]
All = Annotated[bool, typer.Option("--all", help="Every page, one after the other.")]
Since = Annotated[datetime | None, typer.Option(parser=_time, metavar="TIME", help="Created then or later; UTC.")]
Until = Annotated[datetime | None, typer.Option(parser=_time, metavar="TIME", help="Created before; UTC.")]
Newest = Annotated[bool, typer.Option("--newest-first", help="The latest first.")]


@app.command()
def messages(
    *,
    session: Annotated[str | None, typer.Option("--session", "--session-id", help="Of this session.")] = None,
    user: Annotated[str | None, typer.Option("--user", "--user-id", help="Of this user.")] = None,
    role: Annotated[str | None, typer.Option(help="user, assistant, tool, ...")] = None,
    since: Since = None,
    until: Until = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that were deleted, too.")] = False,
    newest_first: Newest = False,
    limit: Limit = 100,
    after: After = None,
    all_: All = False,
    json: JsonLines = False,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """List messages, oldest first."""

    async def page(reader: Reader, cursor: str | None) -> Page[StoredMessage]:
        return await reader.messages(
            session_id=session,
            user_id=user,
            role=role,
            since=since,
            until=until,
            include_deleted=deleted,
            ascending=not newest_first,
            limit=limit,
            after=cursor,
        )

    columns = ["created (UTC)", "role", "content"] if session else ["created (UTC)", "session", "role", "content"]

    def row(message: StoredMessage) -> Row:
        where = [] if session else [message.session_id]
        return [message.created_at, *where, message.role, summary(message)]

    listing = _Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    asyncio.run(listing.show(sql_url))


@app.command()
def sessions(
    *,
    user: Annotated[str | None, typer.Option("--user", "--user-id", help="Of this user.")] = None,
    platform: Annotated[str | None, typer.Option(help="Of this platform.")] = None,
    limit: Limit = 100,
    after: After = None,
    all_: All = False,
    json: JsonLines = False,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """List sessions, the one with the latest message first."""

    async def page(reader: Reader, cursor: str | None) -> Page[Session]:
        return await reader.sessions(user_id=user, platform=platform, limit=limit, after=cursor)

    def row(session: Session) -> Row:
        return [session.id, session.user_id, session.message_count, session.first_message_at, session.last_message_at]

    columns = ["session", "user", "messages", "first (UTC)", "last (UTC)"]
    listing = _Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    asyncio.run(listing.show(sql_url))


@app.command()
def logs(
    *,
    agent: Annotated[str | None, typer.Option("--agent", "--agent-id", help="Of this agent.")] = None,
    task: Annotated[str | None, typer.Option("--task", "--task-id", help="Of this task.")] = None,
    event: Annotated[str | None, typer.Option(help="With this event's name.")] = None,
    min_level: Annotated[str | None, typer.Option(help="This level or above: debug, info, warning, ...")] = None,
    since: Since = None,
    until: Until = None,
    newest_first: Newest = False,
    limit: Limit = 100,
    after: After = None,
    all_: All = False,
    json: JsonLines = False,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """List log events, oldest first."""

    async def page(reader: Reader, cursor: str | None) -> Page[StoredLog]:
        return await reader.logs(
            agent_id=agent,
            task_id=task,
            event=event,
            min_level=min_level,
            since=since,
            until=until,
            ascending=not newest_first,
            limit=limit,
            after=cursor,
        )

    listing = _Listing(
        page=page,
        columns=["created (UTC)", "level", "agent", "event", "message"],
        row=_log_row,
        after=after,
        every=all_,
        json=json,
    )
    asyncio.run(listing.show(sql_url))


def _log_row(log: StoredLog) -> Row:
    said = " ".join(part for part in (log.message, _compact(log.data)) if part)
    return [log.created_at, log.level, log.agent_id, log.event, said]


@app.command()
def search(
    *,
    collection: Annotated[str, typer.Argument(help="The collection's name.")],
    vector: Annotated[str | None, typer.Option(metavar="JSON", help="The numbers: '[0.1, 0.2, ...]'.")] = None,
    vector_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file with the numbers as JSON.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="JSON", help='A filter on the metadata: \'{"lang": "en"}\'.')
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, max=_MOST, help="At most this many.")] = 10,
    json: JsonLines = False,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Find the vectors nearest to one, best first."""
    if (vector is None) == (vector_file is None):
        raise Stop("give the vector with --vector or --vector-file", Code.USAGE)
    numbers = _json("vector", vector_file.read_bytes() if vector_file else vector or "")
    condition = None if where is None else _json("where", where)
    hits = asyncio.run(_search(vector_url, collection, numbers, condition, top_k))
    if json:
        for hit in hits:
            print_json(hit)
    elif hits:
        show_hits(hits)
    else:
        say("Nothing found.")


def show_hits(hits: Sequence[Hit]) -> None:
    """The results of a vector search for people."""
    rows = [[f"{hit.score:.4f}", hit.id, " ".join(filter(None, (hit.text, _compact(hit.metadata))))] for hit in hits]
    print_table(["score", "id", "text"], rows, ["score"])


def summary(message: StoredMessage) -> str:
    """A message's content on one line, or which tools it calls."""
    calls = message.metadata.get("tool_calls")
    called = f"[calls {', '.join(map(_tool_name, calls))}]" if isinstance(calls, list) and calls else ""
    state = "" if message.state == "complete" else f"[{message.state}]"
    return " ".join(part for part in (state, message.content, called) if part)


def _tool_name(call: Any) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    return str(function.get("name", "?")) if isinstance(function, Mapping) else "?"


def _compact(data: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(data)).decode() if data else ""


def _json(option: str, text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as exc:
        raise Stop(f"--{option} is no JSON: {exc}", Code.USAGE) from exc


async def _search(url: str, collection: str, vector: Any, where: Any, top_k: int) -> Sequence[Hit]:
    from penstock.query import Reader  # noqa: PLC0415 - drivers are slow to load

    async with Reader.open(vectors=url) as reader:
        return await reader.search(collection, vector=vector, top_k=top_k, where=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing(Generic[T]):
    """How pages are asked for and shown."""

    page: Callable[[Reader, str | None], Awaitable[Page[T]]]
    """Asks for the page after a cursor."""
    columns: Sequence[str]
    row: Callable[[T], Row]
    after: str | None
    every: bool
    json: bool

    async def show(self, sql_url: str) -> None:
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

        async with Reader.open(sql=sql_url) as reader:
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
