"""`penstock query` for state: tasks, agents' states, contexts, key-values, and what one agent has done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from penstock.cli.display import age, print_json, print_table
from penstock.cli.listing import (
    After,
    Agent,
    All,
    Limit,
    Listing,
    Newest,
    OfSession,
    Row,
    Since,
    Until,
    Where,
    compact,
    condition,
    joined,
)
from penstock.cli.options import SQL_URL, Json, JsonLines, KeyValueUrl, SqlUrl
from penstock.stores.rows import AgentStatistics, StoredAgentState, StoredContext, StoredKeyValue, StoredTask
from penstock.wire.building_state import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from penstock.query import Page, Reader


def tasks(
    *,
    agent: Agent = None,
    status: Annotated[str | None, typer.Option(help="pending, running, completed, failed, ...")] = None,
    task_type: Annotated[str | None, typer.Option("--type", help="Of this type.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled", help="Only those.")] = None,
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
    """List tasks, oldest first."""

    async def page(reader: Reader, cursor: str | None) -> Page[StoredTask]:
        return await reader.tasks(
            agent_id=agent,
            status=status,
            task_type=task_type,
            enabled=enabled,
            since=since,
            until=until,
            where=condition(where),
            ascending=not newest_first,
            limit=limit,
            after=cursor,
        )

    def row(task: StoredTask) -> Row:
        said = joined(task.description, task.error and f"[{task.error}]", compact(task.data))
        return [task.created_at, task.status, task.agent_id, task.id, said]

    columns = ["created (UTC)", "status", "agent", "task", "description"]
    listing = Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    listing.show(sql_url)


def states(
    *,
    active: Annotated[bool | None, typer.Option("--active/--archived", help="Only those.")] = None,
    state: Annotated[str | None, typer.Option(help="idle, busy, failed, ...")] = None,
    role: Annotated[list[str] | None, typer.Option(help="With this role; may be repeated.")] = None,
    limit: Limit = 100,
    after: After = None,
    all_: All = False,
    json: JsonLines = False,
    sql_url: SqlUrl = SQL_URL,
) -> None:
    """List agents' states by agent."""

    async def page(reader: Reader, cursor: str | None) -> Page[StoredAgentState]:
        return await reader.agent_states(active=active, state=state, role=role or None, limit=limit, after=cursor)

    def row(found: StoredAgentState) -> Row:
        said = joined(found.goal, compact(found.stats))
        return [found.agent_id, found.state, found.role, found.last_task_id, found.updated_at, said]

    columns = ["agent", "state", "role", "last task", "updated (UTC)", "goal"]
    listing = Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    listing.show(sql_url)


def contexts(
    *,
    agent: Agent = None,
    session: OfSession = None,
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
    """List contexts that have not expired, oldest first."""

    async def page(reader: Reader, cursor: str | None) -> Page[StoredContext]:
        return await reader.contexts(
            agent_id=agent,
            session_id=session,
            since=since,
            until=until,
            where=condition(where),
            ascending=not newest_first,
            limit=limit,
            after=cursor,
        )

    def row(found: StoredContext) -> Row:
        place = [found.agent_id, found.session_id, found.id]
        return [found.created_at, found.expires_at, *place, compact(found.data)]

    columns = ["created (UTC)", "expires (UTC)", "agent", "session", "context", "data"]
    listing = Listing(page=page, columns=columns, row=row, after=after, every=all_, json=json)
    listing.show(sql_url)


def values(
    *,
    prefix: Annotated[str, typer.Argument(help="Of keys that begin with this.")] = "",
    namespace: Annotated[str, typer.Option(help="The keys' namespace.")] = DEFAULT_NAMESPACE,
    limit: Limit = 100,
    after: After = None,
    all_: All = False,
    json: JsonLines = False,
    sql_url: SqlUrl = SQL_URL,
    key_value_url: KeyValueUrl = "",
) -> None:
    """List keys and values that have not expired, by key."""

    async def page(reader: Reader, cursor: str | None) -> Page[StoredKeyValue]:
        return await reader.key_values(prefix, namespace=namespace, limit=limit, after=cursor)

    def row(found: StoredKeyValue) -> Row:
        return [found.key, found.updated_at, found.expires_at, orjson.dumps(found.value).decode()]

    columns = ["key", "updated (UTC)", "expires (UTC)", "value"]
    listing = Listing(
        page=page, columns=columns, row=row, after=after, every=all_, json=json, key_value_url=key_value_url
    )
    listing.show(sql_url)


def statistics(
    *, agent: Annotated[str, typer.Argument(help="The agent's id.")], json: Json = False, sql_url: SqlUrl = SQL_URL
) -> None:
    """Show what one agent has done: tasks, log events, contexts."""
    found = asyncio.run(_statistics(sql_url, agent))
    if json:
        print_json(found)
        return
    rate, duration = found.success_rate, found.average_duration_s
    print_table(
        ["of", "figure"],
        [
            ["tasks", found.tasks],
            *([f"tasks {status}", count] for status, count in found.tasks_by_status.items()),
            ["success rate", None if rate is None else f"{rate:.1%}"],
            ["average duration", None if duration is None else age(duration)],
            ["last task (UTC)", found.last_task_at],
            *([f"log events {level}", count] for level, count in found.logs_by_level.items()),
            ["contexts", found.contexts],
        ],
        ["figure"],
    )


async def _statistics(sql_url: str, agent: str) -> AgentStatistics:
    from penstock.query import Reader  # noqa: PLC0415 - drivers are slow to load

    async with Reader.open(sql=sql_url) as reader:
        return await reader.agent_statistics(agent)
