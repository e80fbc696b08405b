"""`penstock query`: what is stored. It reads the stores alone and needs no queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import state_queries
from penstock.cli.display import print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.listing import (
    MOST,
    After,
    Agent,
    All,
    Limit,
    Listing,
    Newest,
    OfSession,
    OfUser,
    Row,
    Since,
    Until,
    Where,
    compact,
    condition,
    joined,
    parsed,
)
from penstock.cli.options import SQL_URL, VECTOR_URL, JsonLines, SqlUrl, VectorUrl
from penstock.stores.rows import Hit, Session, StoredLog, StoredMessage

if TYPE_CHECKING:
    from penstock.query import Page, Reader
    from penstock.stores.rows import FoundMessage

app = typer.Typer(help="Read what is stored. Needs no queue.", no_args_is_help=True)


@app.command()
def messages(
    *,
    session: OfSession = None,
    user: OfUser = None,
    role: Annotated[list[str] | None, typer.Option(help="user, assistant, tool, ...; may be repeated.")] = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
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
            role=role or None,
            since=since,
            until=until,
            where=condition(where),
            include_deleted=deleted,
            ascending=not newest_first,
            limit=limit,
            after=cursor,
        )

    columns = ["created (UTC)", "role", "content"] if session else ["created (UTC)", "session", "role", "content"]

    def row(message: StoredMessage) -> Row:
        place = [] if session else [message.session_id]
        return [message.created_at, *place, message.role, summary(message)]

    listing = Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    listing.show(sql_url)


@app.command()
def find(
    *,
    text: Annotated[str, typer.Argument(help='Words; "in quotes" as they stand, begin* or -without.')],
    session: OfSession = None,
    user: OfUser = None,
    role: Annotated[list[str] | None, typer.Option(help="user, assistant, tool, ...; may be repeated.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    after: After = None,
    all_: All = False,
    json: JsonLines = False,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """Find messages by their words, the newest first. What starts with - stands behind --."""

    async def page(reader: Reader, cursor: str | None) -> Page[FoundMessage]:
        return await reader.search_messages(
            text,
            session_id=session,
            user_id=user,
            role=role or None,
            since=since,
            until=until,
            limit=limit,
            after=cursor,
        )

    def row(found: FoundMessage) -> Row:
        return [found.message.created_at, found.message.session_id, found.message.role, found.snippet]

    columns = ["created (UTC)", "session", "role", "content"]
    listing = Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    listing.show(sql_url)


@app.command()
def sessions(
    *,
    user: OfUser = None,
    platform: Annotated[str | None, typer.Option(help="Of this platform.")] = None,
    since: Since = None,
    until: Until = None,
    last: Annotated[bool, typer.Option("--last-message", help="With the last message that is not deleted.")] = False,
    limit: Limit = 100,
    after: After = None,
    all_: All = False,
    json: JsonLines = False,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """List sessions, the one with the latest message first. Times are those of the last message."""

    async def page(reader: Reader, cursor: str | None) -> Page[Session]:
        return await reader.sessions(
            user_id=user,
            platform=platform,
            since=since,
            until=until,
            with_last_message=last,
            limit=limit,
            after=cursor,
        )

    def row(session: Session) -> Row:
        said = [session.last_message and summary(session.last_message)] if last else []
        first_at, last_at = session.first_message_at, session.last_message_at
        return [session.id, session.user_id, session.message_count, first_at, last_at, *said]

    columns = ["session", "user", "messages", "first (UTC)", "last (UTC)", *(["last message"] if last else [])]
    listing = Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    listing.show(sql_url)


@app.command()
def logs(
    *,
    agent: Agent = None,
    task: Annotated[str | None, typer.Option("--task", "--task-id", help="Of this task.")] = None,
    event: Annotated[str | None, typer.Option(help="With this event's name.")] = None,
    min_level: Annotated[str | None, typer.Option(help="This level or above: debug, info, warning, ...")] = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
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
            where=condition(where),
            ascending=not newest_first,
            limit=limit,
            after=cursor,
        )

    listing = Listing(
        page=page,
        columns=["created (UTC)", "level", "agent", "event", "message"],
        row=_log_row,
        after=after,
        every=all_,
        json=json,
    )
    listing.show(sql_url)


def _log_row(log: StoredLog) -> Row:
    return [log.created_at, log.level, log.agent_id, log.event, joined(log.message, compact(log.data))]


@app.command()
def search(
    *,
    collection: Annotated[str, typer.Argument(help="The collection's name.")],
    vector: Annotated[str | None, typer.Option(metavar="JSON", help="The numbers: '[0.1, 0.2, ...]'.")] = None,
    vector_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file with the numbers as JSON.")
    ] = None,
    where: Where = None,
    top_k: Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")] = 10,
    json: JsonLines = False,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Find the vectors nearest to one, best first."""
    if (vector is None) == (vector_file is None):
        raise Stop("give the vector with --vector or --vector-file", Code.USAGE)
    numbers = parsed("vector", vector_file.read_bytes() if vector_file else vector or "")
    hits = asyncio.run(_search(vector_url, collection, numbers, condition(where), top_k))
    if json:
        for hit in hits:
            print_json(hit)
    elif hits:
        show_hits(hits)
    else:
        say("Nothing found.")


for command in (
    state_queries.tasks,
    state_queries.states,
    state_queries.contexts,
    state_queries.values,
    state_queries.statistics,
):
    app.command()(command)


def show_hits(hits: Sequence[Hit]) -> None:
    """The results of a vector search for people."""
    rows = [[f"{hit.score:.4f}", hit.id, joined(hit.text, compact(hit.metadata))] for hit in hits]
    print_table(["score", "id", "text"], rows, ["score"])


def summary(message: StoredMessage) -> str:
    """A message's content on one line, or which tools it calls."""
    calls = message.metadata.get("tool_calls")
    called = f"[calls {', '.join(map(_tool_name, calls))}]" if isinstance(calls, list) and calls else ""
    state = "" if message.state == "complete" else f"[{message.state}]"
    deleted = "[deleted]" if message.deleted_at else ""
    return joined(deleted, state, message.content, called)


def _tool_name(call: Any) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    return str(function.get("name", "?")) if isinstance(function, Mapping) else "?"


async def _search(url: str, collection: str, vector: Any, where: Any, top_k: int) -> Sequence[Hit]:
    from penstock.query import Reader  # noqa: PLC0415 - drivers are slow to load

    async with Reader.open(vectors=url) as reader:
        return await reader.search(collection, vector=vector, top_k=top_k, where=where)
