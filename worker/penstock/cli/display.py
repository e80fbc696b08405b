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
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_PIPED_COLUMNS = 200
"""Width of a table that goes into a pipe or a file, where nobody's window cuts it."""

_READABLE_COLUMNS = 18
"""A text in a narrower column is a tower of words."""

_BETWEEN = 3


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

    The last column gives way where the window is too narrow; the others are what people copy. Its texts are cut.
    With *whole* they are broken into lines, and stand below their rows where too little is left of the window.
    """
    cells = [[each if isinstance(each, Text) else cell(each) for each in row] for row in rows]
    widths = [max([len(name), *(row[at].cell_len for row in cells)]) for at, name in enumerate(columns)]
    out = console()
    if whole and out.width < sum(widths[:-1]) + _BETWEEN * len(columns) + min(widths[-1], _READABLE_COLUMNS):
        _print_stacked(out, columns, cells, widths, numbers)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for at, name in enumerate(columns):
        last = at == len(columns) - 1
        justify: JustifyMethod = "right" if name in numbers else "left"
        # Rich narrows the columns that may wrap; the last one's texts are cut instead.
        table.add_column(
            name, justify=justify, min_width=0 if last else widths[at], no_wrap=not last, overflow="ellipsis"
        )
    for row in cells:
        row[-1].no_wrap = not whole
        table.add_row(*row)
    out.print(table)


def _print_stacked(
    out: Console, columns: Sequence[str], cells: Sequence[Sequence[Text]], widths: Sequence[int], numbers: Sequence[str]
) -> None:
    """The table without its last column, whose texts stand below their rows."""
    header = [Text(name, "bold") for name in columns]
    out.print()
    for row in (header, *cells):
        for name, each, width in zip(columns, row[:-1], widths, strict=False):
            each.align("right" if name in numbers else "left", width)
        out.print(Text(" ") + Text(" " * _BETWEEN).join(row[:-1]), soft_wrap=True)
        out.print(Padding(row[-1], (0, 0, 0, 1 + _BETWEEN)))
        if row is header:
            out.print(Text(f" {'─' * (out.width - 2)}"))
    out.print()


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
