"""`penstock dlq`: the dead letters, seen. What moves and changes them lies beside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.json import JSON

from penstock import dlq
from penstock.cli import dead_letter_editing, dead_letter_files, dead_letter_moves
from penstock.cli.connection import ask
from penstock.cli.dead_letter_options import (
    Group,
    Id,
    Kind,
    Lane,
    Limit,
    Session,
    Since,
    Until,
    none_of,
    nothing_of,
    which,
)
from penstock.cli.display import age, console, moment, plain, print_json, print_table, say
from penstock.cli.options import NAMESPACE, REDIS_URL, Json, JsonLines, Namespace, RedisUrl
from penstock.dlq import DeadLetter
from penstock.dlq.history import Replayed

app = typer.Typer(help="Dead letters: records that a store refused for good. They wait here.", no_args_is_help=True)

_SHOWN_NUMBERS = 8
_TABLE_ROWS = 100


@app.command("list")
def list_(
    *,
    lane: Lane = None,
    kind: Kind = None,
    group: Group = None,
    since: Since = None,
    until: Until = None,
    session: Session = None,
    limit: Limit = None,
    json: JsonLines = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """List dead letters, oldest first within each partition."""
    chosen = which(lane=lane, error_kind=kind, group=group, since=since, until=until, session=session)
    show = _print_lines if json else _print_table
    most = limit if limit or json else _TABLE_ROWS
    if not ask(redis_url, namespace, lambda queue: show(dlq.list_letters(queue, limit=most, **chosen))):
        say(nothing_of(chosen))


async def _print_lines(letters: AsyncIterator[DeadLetter]) -> int:
    found = 0
    async for letter in letters:
        print_json(_as_json(letter))
        found += 1
    return found


async def _print_table(letters: AsyncIterator[DeadLetter]) -> int:
    now = datetime.now(UTC)
    rows = [
        [each.id, each.lane, _ago(each.last_at, now), f"{each.error_kind}: {each.reason}"] async for each in letters
    ]
    if rows:
        print_table(["id", "lane", "for", "reason"], rows, ["for"], whole=True)
        if len(rows) == _TABLE_ROWS:
            say(
                f"There may be more than these {_TABLE_ROWS}: --limit, or --json for all; by cause: penstock dlq groups"
            )
        say("One in full: penstock dlq show ID. Once the cause is gone: penstock dlq replay [ID]...")
    return len(rows)


def _ago(at: datetime | None, now: datetime) -> str | None:
    return None if at is None else age((now - at).total_seconds())


@app.command()
def groups(
    *,
    lane: Lane = None,
    kind: Kind = None,
    group: Group = None,
    since: Since = None,
    until: Until = None,
    session: Session = None,
    json: JsonLines = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Group dead letters by their cause, the largest group first.

    Letters of one group have lane, record kind, error kind and reason in common, but for the numbers, ids and quoted
    parts in it. The other commands take a group with --group.
    """
    chosen = which(lane=lane, error_kind=kind, group=group, since=since, until=until, session=session)
    found = ask(redis_url, namespace, lambda queue: dlq.groups(queue, **chosen))
    if json:
        for each in found:
            print_json(asdict(each))
    elif found:
        now = datetime.now(UTC)
        rows = [
            [each.fingerprint, each.letters, each.lane, _ago(each.first_at, now), _ago(each.last_at, now),
             f"{each.error_kind}: {each.reason}; latest: {each.record_kind} {each.sample}"]
            for each in found
        ]  # fmt: skip
        print_table(
            ["group", "letters", "lane", "since", "last", "reason"], rows, ["letters", "since", "last"], whole=True
        )
        say("Those of one: penstock dlq list --group GROUP. Mended? penstock dlq replay --group GROUP --dry-run")
    else:
        say(nothing_of(chosen))


@app.command()
def show(
    *,
    id: Id,  # noqa: A002 - the option's name
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Show one dead letter with its record. Exit code 3 when there is none."""
    letter = ask(redis_url, namespace, lambda queue: dlq.find(queue, id))
    if letter is None:
        raise none_of(id)
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
        "group": letter.fingerprint,
        "tries": letter.attempts,
        "first": f"{moment(letter.first_at)} UTC" if letter.first_at else "-",
        "last": f"{moment(letter.last_at)} UTC" if letter.last_at else "-",
        "replayed": f"{letter.replays} time{'' if letter.replays == 1 else 's'}" if letter.replays else "never",
        "edited": "; ".join(f"{moment(each.at)} UTC: {', '.join(each.fields)}" for each in letter.edits) or "never",
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
    told = {each.name: getattr(letter, each.name) for each in fields(letter) if each.name != "entry"}
    return {**told, "edits": [each._asdict() for each in letter.edits]}


@app.command()
def history(
    *,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only of this record.")] = None,  # noqa: A002
    lane: Lane = None,
    limit: Limit = None,
    json: JsonLines = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """List what was replayed, the newest first within each partition, and what became of it.

    stored: by a store, or left out by the worker's strategy. dead: it came back, with the reason. pending: still in the
    queue. Each partition remembers about its last 5,000 replays.
    """
    most = limit if limit or json else _TABLE_ROWS

    async def show_all(found: AsyncIterator[Replayed]) -> int:
        replays = []
        async for each in found:
            if json:
                print_json(asdict(each))
            replays.append([each.id, each.at, each.outcome, each.reason or f"was {each.was}"])
        if replays and not json:
            print_table(["id", "replayed (UTC)", "outcome", "reason"], replays, whole=True)
        return len(replays)

    if not ask(redis_url, namespace, lambda queue: show_all(dlq.history(queue, id, lane=lane, limit=most))):
        say("Nothing was replayed.")


app.command()(dead_letter_moves.replay)
app.command()(dead_letter_moves.purge)
app.command()(dead_letter_editing.edit)
app.command("export")(dead_letter_files.export)
app.command("import")(dead_letter_files.import_)
