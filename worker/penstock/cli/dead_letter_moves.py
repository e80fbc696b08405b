"""`penstock dlq replay` and `purge`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from penstock import dlq
from penstock.cli.connection import ask, embedder_of_settings
from penstock.cli.dead_letter_options import (
    Group,
    Ids,
    Kind,
    Lane,
    Limit,
    Session,
    Since,
    Until,
    letters_of,
    nothing_of,
    refuse_both,
    which,
)
from penstock.cli.display import print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import (
    NAMESPACE,
    REDIS_URL,
    SQL_URL,
    VECTOR_URL,
    Json,
    KeyValueUrl,
    Namespace,
    RedisUrl,
    SqlUrl,
    StoreUrls,
    VectorUrl,
)
from penstock.dlq import Outcome
from penstock.dlq.selection import Which
from penstock.wire.ids import parse_id
from penstock.wire.queue import Queue

if TYPE_CHECKING:
    from penstock.dlq.rehearsal import Rehearsal


def replay(
    *,
    ids: Ids = None,
    lane: Lane = None,
    kind: Kind = None,
    group: Group = None,
    since: Since = None,
    until: Until = None,
    session: Session = None,
    limit: Limit = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most this many records a second.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try each in the store and undo it: tell what would come of it.")
    ] = False,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
    sql_url: SqlUrl = SQL_URL,
    vector_url: VectorUrl = VECTOR_URL,
    key_value_url: KeyValueUrl = "",
) -> None:
    """Send dead letters through the queue again.

    Each keeps its id, and nothing that is newer in the store is replaced. All of them, those given, or those that the
    options choose. Exit code 3 when a given ID has no letter. penstock dlq history tells what became of each. Only a
    dry run asks the stores, and the embedder of PENSTOCK_EMBEDDER for texts without a vector.
    """
    chosen = which(lane=lane, error_kind=kind, group=group, since=since, until=until, session=session)
    refuse_both(ids, chosen)
    if dry_run:
        stores = StoreUrls(sql_url, vector_url, key_value_url)
        found = ask(redis_url, namespace, lambda queue: _rehearsed(queue, stores, ids, limit, chosen))
        _tell_rehearsal(found, chosen, json=json)
        return
    outcome = ask(
        redis_url, namespace, lambda queue: dlq.replay(queue, ids=ids or None, limit=limit, rate=rate, **chosen)
    )
    _tell(outcome, "replayed", chosen, json=json)


async def _rehearsed(
    queue: Queue, stores: StoreUrls, ids: list[str] | None, limit: int | None, chosen: Which
) -> Rehearsal:
    from penstock.dlq.rehearsal import rehearse  # noqa: PLC0415 - drivers are slow to load

    sql, vectors, key_values = stores
    async with embedder_of_settings() as embedder:
        return await rehearse(
            queue,
            sql=sql,
            vectors=vectors,
            key_values=key_values,
            embedder=embedder,
            ids=ids or None,
            limit=limit,
            **chosen,
        )


def _tell_rehearsal(found: Rehearsal, chosen: Which, *, json: bool) -> None:
    refusals = sorted(found.refusals.values(), key=lambda each: -each.letters)
    if json:
        print_json({**asdict(found), "refusals": [asdict(each) for each in refusals]})
    elif not found.letters and not found.missing:
        say(nothing_of(chosen))
    else:
        if refusals:
            rows = [[each.letters, each.sample, each.reason] for each in refusals]
            print_table(["would come back", "sample", "reason"], rows, ["would come back"], whole=True)
        say(
            f"{letters_of(found.letters)}: {found.stored:,} would be stored, {found.older:,} would change nothing "
            f"(the store has the same or newer), {found.refused:,} would come back. Nothing was changed."
        )
    _complain_of(found.missing)


def purge(
    *,
    ids: Ids = None,
    lane: Lane = None,
    kind: Kind = None,
    group: Group = None,
    since: Since = None,
    until: Until = None,
    session: Session = None,
    limit: Limit = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Remove dead letters for good.

    They stay counted as purged. Asks first. Exit code 3 when a given ID has no letter.
    """
    chosen = which(lane=lane, error_kind=kind, group=group, since=since, until=until, session=session)
    refuse_both(ids, chosen)
    for each in ids or ():
        parse_id(each)  # before anybody is asked
    if not yes:
        _confirm(len(ids[:limit]) if ids else ask(redis_url, namespace, lambda queue: _count(queue, limit, chosen)))
    outcome = ask(redis_url, namespace, lambda queue: dlq.purge(queue, ids=ids or None, limit=limit, **chosen))
    _tell(outcome, "purged", chosen, json=json)


async def _count(queue: Queue, limit: int | None, chosen: Which) -> int:
    letters = 0
    async for _ in dlq.list_letters(queue, limit=limit, **chosen):
        letters += 1
    return letters


def _confirm(letters: int) -> None:
    if not letters:
        return
    if not sys.stdin.isatty():
        raise Stop(f"purge removes {letters_of(letters)} for good; without a terminal it needs --yes", Code.USAGE)
    if not typer.confirm(f"Remove {letters_of(letters)} for good?", err=True):
        raise Stop("nothing was removed", Code.NO)


def _tell(outcome: Outcome, verb: str, chosen: Which, *, json: bool) -> None:
    if json:
        print_json({verb: outcome.letters, "records": outcome.records, "missing": outcome.missing})
    elif not outcome.letters and not outcome.missing:
        say(nothing_of(chosen))
    else:
        say(f"{letters_of(outcome.letters)} {verb}.")
    _complain_of(outcome.missing)


def _complain_of(missing: tuple[str, ...]) -> None:
    if missing:
        raise Stop(f"no dead letter of {', '.join(missing)}", Code.NOT_FOUND)
