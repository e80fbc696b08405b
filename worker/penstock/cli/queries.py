"""`penstock query`: what is stored. It reads the stores alone and needs no queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import state_queries, vector_queries
from penstock.cli.listing import (
    After,
    Agent,
    All,
    Limit,
    Listing,
    Newest,
    OfRole,
    OfSession,
    OfUser,
    Row,
    Since,
    Until,
    Where,
    compact,
    condition,
    joined,
)
from penstock.cli.options import SQL_URL, JsonLines, SqlUrl
from penstock.stores.rows import Session, StoredLog, StoredMessage

if TYPE_CHECKING:
    from penstock.query import Page, Reader
    from penstock.stores.rows import FoundMessage

app = typer.Typer(help="Read what is stored. Needs no queue.", no_args_is_help=True)


@app.command()
def messages(
    *,
    session: OfSession = None,
    user: OfUser = None,
    role: OfRole = None,
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
    role: OfRole = None,
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


for command in (
    state_queries.tasks,
    state_queries.states,
    state_queries.contexts,
    state_queries.values,
    state_queries.statistics,
    vector_queries.search,
    vector_queries.vectors,
    vector_queries.collections,
):
    app.command()(command)


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
