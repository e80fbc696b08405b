"""What commands have in common that write JSON Lines to a file or to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.exits import Code, Stop

STANDARD_OUTPUT = Path("-")

LinesFile = Annotated[Path, typer.Argument(metavar="[FILE]", help="JSON Lines; in gzip where it ends in .gz.")]


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """A block that writes *file*, or standard output, which ends the command where it cannot go on."""
    try:
        yield
    except BrokenPipeError:
        _let_go_of_standard_output()
        raise SystemExit(Code.NO) from None
    except OSError as exc:
        raise Stop(f"{file} cannot be written: {exc.strerror or exc}", Code.SETUP) from exc


def _let_go_of_standard_output() -> None:
    """Whoever read it has seen enough. Python would complain of what is still to be written when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
