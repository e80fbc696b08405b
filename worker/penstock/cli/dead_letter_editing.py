"""`penstock dlq edit`: a dead letter's record mended, in an editor, from a file or by options."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import click
import orjson
import typer

from penstock import dlq
from penstock.cli.connection import ask
from penstock.cli.dead_letter_options import Id, none_of
from penstock.cli.display import print_json, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import NAMESPACE, REDIS_URL, Json, Namespace, RedisUrl
from penstock.dlq.editing import Edition, fields_of, value_of
from penstock.wire.errors import InvalidRecord

_STANDARD_INPUT = Path("-")


def edit(
    *,
    id: Id,  # noqa: A002 - the option's name
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A text as it is, all else as JSON; repeatable."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The whole record as JSON; - is standard input.")
    ] = (None),
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Change the record of a dead letter, so that it can be replayed.

    Opens $EDITOR with its fields as JSON, or takes them from --set or --file. What is changed is checked as a
    producer's call checks it. Id, ordering key and version must stay. The letter remembers which fields were changed,
    and when. Exit code 3 when there is no letter.
    """
    if set_ and file:
        raise Stop("give --set or --file, not both", Code.USAGE)
    letter = ask(redis_url, namespace, lambda queue: dlq.find(queue, id))
    if letter is None:
        raise none_of(id)
    if set_:
        record = letter.decoded
        fields: Mapping[str, Any] = dict(_assigned(each) for each in set_)
        given = {name: value_of(record, name, text) if record else text for name, text in fields.items()}
        text = None
    else:
        text = _read(file) if file else _written(orjson.dumps(fields_of(letter), option=orjson.OPT_INDENT_2))
        given = _parsed(text)
    try:
        done = ask(redis_url, namespace, lambda queue: dlq.edit(queue, id, given, whole=not set_))
    except InvalidRecord as exc:
        raise Stop(f"{exc}{_kept(text) if text and not file else ''}", Code.USAGE) from exc
    if done is None:
        raise none_of(id)
    _tell(id, done, json=json)


def _assigned(given: str) -> tuple[str, str]:
    name, sign, value = given.partition("=")
    if not sign:
        raise Stop(f"--set {given!r} has no value; --set FIELD=VALUE is needed", Code.USAGE)
    return name, value


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == _STANDARD_INPUT else file.read_bytes()
    except OSError as exc:
        raise Stop(f"{file} cannot be read: {exc.strerror}", Code.USAGE) from exc


def _written(before: bytes) -> bytes:
    """What somebody makes of *before* in an editor."""
    if not sys.stdin.isatty():
        raise Stop("without a terminal there is no editor; give --set or --file", Code.USAGE)
    try:
        after = click.edit(before.decode() + "\n", extension=".json")
    except click.ClickException as exc:
        raise Stop(f"{exc.message}; EDITOR names another one", Code.SETUP) from exc
    return before if after is None else after.encode()


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except ValueError as exc:
        raise Stop(f"that is no JSON: {exc}{_kept(text)}", Code.USAGE) from exc
    if not isinstance(found, dict):
        raise Stop(f"an object with the record's fields is needed{_kept(text)}", Code.USAGE)
    return found


def _kept(text: bytes) -> str:
    """Keep what was written, which took somebody time."""
    descriptor, name = tempfile.mkstemp(prefix="penstock-edit-", suffix=".json")
    with os.fdopen(descriptor, "wb") as kept:
        kept.write(text)
    return f"; what was written is kept: mend it in {name} and give it with --file"


def _tell(record_id: str, done: Edition, *, json: bool) -> None:
    if done.letter is None:
        raise Stop("somebody has replayed, purged or edited the letter meanwhile; nothing was changed", Code.NO)
    if json:
        print_json({"id": done.letter.id, "edited": done.fields})
    elif done.fields:
        say(f"Changed {', '.join(done.fields)}. Send it again with: penstock dlq replay {record_id}")
    else:
        say("Nothing was changed.")
