"""What a person sees: tables and lines. Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

_PIPED_COLUMNS = 200
"""Width of a table that goes into a pipe or a file, where nobody's window cuts it."""


def console(*, stderr: bool = False) -> Console:
    """A console as it is now; honours NO_COLOR and COLUMNS."""
    made = Console(stderr=stderr, highlight=False, markup=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _PIPED_COLUMNS
    return made


def say(line: str, style: str = "") -> None:
    """One line for people, on standard error, whatever its length."""
    console(stderr=True).print(Text(line, style), soft_wrap=True)


def complain(line: str, on: Console | None = None) -> None:
    """One line that says what is wrong. *on* is the console of a live display, which moves out of the way."""
    (on or console(stderr=True)).print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def print_json(value: Any) -> None:
    """*value* as one line of JSON on standard output."""
    line = orjson.dumps(value, default=_plain)
    sys.stdout.write(line.decode() + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return dict(value)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = (), *, whole: bool = False
) -> None:
    """A table on standard output. *numbers* names the columns that are aligned to the right.

    The last column gives way where the window is too narrow; the others are what people copy.
    With *whole* it is broken into lines, else cut.
    """
    cells = [[each if isinstance(each, Text) else cell(each) for each in row] for row in rows]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for at, name in enumerate(columns):
        last = at == len(columns) - 1
        width = 0 if last else max([len(name), *(row[at].cell_len for row in cells)])
        justify: JustifyMethod = "right" if name in numbers else "left"
        # Rich narrows the columns that may wrap; the last one's texts are cut instead.
        table.add_column(name, justify=justify, min_width=width, no_wrap=not last, overflow="ellipsis")
    for row in cells:
        row[-1].no_wrap = not whole
        table.add_row(*row)
    console().print(table)


def cell(value: object) -> Text:
    """*value* as one line that cannot command the terminal: control characters become spaces."""
    if value is None:
        return Text("-", "dim")
    if isinstance(value, datetime):
        return Text(moment(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    return Text(plain(str(value)).strip())


def plain(text: str) -> str:
    """*text* with everything that a terminal might obey as a space."""
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)


def moment(at: datetime) -> str:
    """A point in time for people, to the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def age(seconds: float) -> str:
    """How long something has lasted, in the two largest units that matter."""
    if seconds < 1:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
