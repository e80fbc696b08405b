"""`penstock dlq`: the dead letters."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.json import JSON

from penstock import dlq
from penstock.cli.connection import ask
from penstock.cli.display import age, console, moment, plain, print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import NAMESPACE, REDIS_URL, Json, JsonLines, Namespace, RedisUrl
from penstock.dlq import DeadLetter, Outcome
from penstock.wire.ids import parse_id
from penstock.wire.queue import Queue

app = typer.Typer(help="Dead letters: records that a store refused for good. They wait here.", no_args_is_help=True)

Lane = Annotated[str | None, typer.Option(help="Only of this lane: messages, logs, state or embeddings.")]
Kind = Annotated[str | None, typer.Option(help="Only of this error kind, as `list` shows it.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Record ids; without, all letters.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many.")]

_SHOWN_NUMBERS = 8
_TABLE_ROWS = 100


@app.command("list")
def list_(
    *,
    lane: Lane = None,
    kind: Kind = None,
    limit: Limit = None,
    json: JsonLines = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """List dead letters, oldest first within each partition."""
    show = _print_lines if json else _print_table
    most = limit if limit or json else _TABLE_ROWS
    if not ask(redis_url, namespace, lambda queue: show(dlq.list_letters(queue, lane, kind, most))):
        say("No dead letters of that lane or kind." if lane or kind else "No dead letters.")


async def _print_lines(letters: AsyncIterator[DeadLetter]) -> int:
    found = 0
    async for letter in letters:
        print_json(_as_json(letter))
        found += 1
    return found


async def _print_table(letters: AsyncIterator[DeadLetter]) -> int:
    now = datetime.now(UTC)
    rows = [[each.id, each.lane, _waited(each, now), f"{each.error_kind}: {each.reason}"] async for each in letters]
    if rows:
        print_table(["id", "lane", "for", "reason"], rows, ["for"], whole=True)
        if len(rows) == _TABLE_ROWS:
            say(f"There may be more than these {_TABLE_ROWS}: --limit, or --json for all.")
        say("One in full: penstock dlq show ID. Once the cause is gone: penstock dlq replay [ID]...")
    return len(rows)


def _waited(letter: DeadLetter, now: datetime) -> str | None:
    return None if letter.last_at is None else age((now - letter.last_at).total_seconds())


@app.command()
def show(
    *,
    id: Annotated[str, typer.Argument(metavar="ID", help="The record's id.")],  # noqa: A002 - the option's name
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Show one dead letter with its record. Exit code 3 when there is none."""
    letter = ask(redis_url, namespace, lambda queue: dlq.find(queue, id))
    if letter is None:
        raise Stop(f"there is no dead letter of {id}; see: penstock dlq list", Code.NOT_FOUND)
    if json:
        print_json({**_as_json(letter), "record": letter.record})
    else:
        _print_letter(letter)


def _print_letter(letter: DeadLetter) -> None:
    out = console()
    facts = {
        "id": letter.id,
        "partition": f"{letter.lane}:{letter.partition}",
        "record": letter.record_kind + (f", counts for {letter.records:,}" if letter.records != 1 else ""),
        "error": letter.error_kind,
        "reason": letter.reason,
        "tries": letter.attempts,
        "when": f"{moment(letter.last_at)} UTC" if letter.last_at else "-",
        "worker": f"{letter.worker} (penstock {letter.version})",
    }
    for name, value in facts.items():
        out.print(f"{name:<10} {plain(str(value))}", soft_wrap=True)
    out.print()
    out.print(JSON(orjson.dumps(_shortened(letter.record)).decode()), soft_wrap=True)


def _shortened(record: dict[str, Any]) -> dict[str, Any]:
    vector = record.get("vector")
    if not vector or len(vector) <= _SHOWN_NUMBERS:
        return record
    return {**record, "vector": [*vector[:_SHOWN_NUMBERS], f"... {len(vector)} numbers, see --json"]}


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {each.name: getattr(letter, each.name) for each in fields(letter) if each.name != "entry"}


@app.command()
def replay(
    *,
    ids: Ids = None,
    lane: Lane = None,
    kind: Kind = None,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Send dead letters through the queue again.

    Each keeps its id. All of them, or those given. Exit code 3 when a given ID has no letter.
    """
    _no_ids_with_filters(ids, lane, kind)
    outcome = ask(redis_url, namespace, lambda queue: dlq.replay(queue, ids=ids or None, lane=lane, error_kind=kind))
    _tell(outcome, "replayed", json)


@app.command()
def purge(
    *,
    ids: Ids = None,
    lane: Lane = None,
    kind: Kind = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Remove dead letters for good.

    They stay counted as purged. Asks first. Exit code 3 when a given ID has no letter.
    """
    _no_ids_with_filters(ids, lane, kind)
    for each in ids or ():
        parse_id(each)  # before anybody is asked
    if not yes:
        _confirm(len(ids) if ids else ask(redis_url, namespace, lambda queue: _count(queue, lane, kind)))
    outcome = ask(redis_url, namespace, lambda queue: dlq.purge(queue, ids=ids or None, lane=lane, error_kind=kind))
    _tell(outcome, "purged", json)


def _no_ids_with_filters(ids: list[str] | None, lane: str | None, kind: str | None) -> None:
    if ids and (lane or kind):
        raise Stop("give ids, or --lane and --kind, not both", Code.USAGE)


async def _count(queue: Queue, lane: str | None, kind: str | None) -> int:
    letters = 0
    async for _ in dlq.list_letters(queue, lane, kind):
        letters += 1
    return letters


def _confirm(letters: int) -> None:
    if not letters:
        return
    noun = "dead letter" if letters == 1 else "dead letters"
    if not sys.stdin.isatty():
        raise Stop(f"purge removes {letters:,} {noun} for good; without a terminal it needs --yes", Code.USAGE)
    if not typer.confirm(f"Remove {letters:,} {noun} for good?", err=True):
        raise Stop("nothing was removed", Code.NO)


def _tell(outcome: Outcome, verb: str, json: bool) -> None:
    if json:
        print_json({verb: outcome.letters, "records": outcome.records, "missing": outcome.missing})
    else:
        say(f"{outcome.letters:,} dead letter{'' if outcome.letters == 1 else 's'} {verb}.")
    if outcome.missing:
        raise Stop(f"no dead letter of {', '.join(outcome.missing)}", Code.NOT_FOUND)
