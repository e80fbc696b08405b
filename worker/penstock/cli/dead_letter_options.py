"""Which dead letters a command is about: the options they share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Unpack, cast

import typer

from penstock.cli.exits import Code, Stop
from penstock.cli.listing import time_of
from penstock.dlq.selection import Which

Lane = Annotated[str | None, typer.Option(help="Only of this lane: messages, logs, state or embeddings.")]
Kind = Annotated[str | None, typer.Option(help="Only of this error kind, as `list` shows it.")]
Group = Annotated[str | None, typer.Option(metavar="FINGERPRINT", help="Only of this group, as `groups` shows it.")]
Since = Annotated[datetime | None, typer.Option(parser=time_of, metavar="TIME", help="Given up then or later; UTC.")]
Until = Annotated[datetime | None, typer.Option(parser=time_of, metavar="TIME", help="Given up before; UTC.")]
Session = Annotated[str | None, typer.Option("--session", "--session-id", help="Only of this session.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Record ids; without, all letters.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The record's id.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many.")]


def which(**given: Unpack[Which]) -> Which:
    """What the options say, of those that are given."""
    return cast("Which", {name: value for name, value in given.items() if value is not None})


def refuse_both(ids: list[str] | None, chosen: Which) -> None:
    """Refuse ids with filters: it could mean either."""
    if ids and chosen:
        raise Stop("give ids, or options that choose letters, not both", Code.USAGE)


def none_of(record_id: str) -> Stop:
    """What to raise where a record has no letter."""
    return Stop(f"there is no dead letter of {record_id}; see: penstock dlq list", Code.NOT_FOUND)


def letters_of(number: int) -> str:
    """*number* with its noun."""
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


def nothing_of(chosen: Which) -> str:
    """What to say where there are none: of all, or of those that are meant."""
    return "No such dead letters." if chosen else "No dead letters."
