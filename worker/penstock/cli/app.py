"""The tree of commands. Each is in a module, which is imported when it runs, and so is what it needs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from penstock.cli.options import ConfigFile, take_from_file
from penstock.wire.settings import CONFIG

_HELP = """Write-behind storage for AI agents.

An agent hands a record over and goes on; workers make it durable, once, in order.

Data goes to standard output, everything else to standard error.

Exit codes: 0 yes, 1 no, 2 usage, 3 not found, 4 queue or store away, 5 unusable setting."""

_PARTS = {
    "demo": "demo:demo",
    "bench": "bench:bench",
    "up": "up:up",
    "worker": "work:worker",
    "import": "importing:import_",
    "export": "exporting:export",
    "copy": "copying:copy",
    "backup": "exporting:backup",
    "status": "status:status",
    "audit": "audit:audit",
    "health": "health:health",
    "migrate": "migrating:migrate",
    "verify": "verifying:verify",
    "upkeep": "upkeep:upkeep",
    "config": "config:app",
    "query": "queries:app",
    "dlq": "dead_letters:app",
    "lanes": "lanes:app",
    "cache": "caches:app",
}
"""Commands and groups of commands: a module of this package, and what it calls them."""


def run(arguments: Sequence[str]) -> None:
    """Run the command line. Leaves by `SystemExit`."""
    tree(arguments[0] if arguments else "")(arguments)


def tree(first: str = "") -> typer.Typer:
    """All commands; or where *first* is one, or a group, that alone: to make the others takes a fifth of a second."""
    app = typer.Typer(
        name="penstock", help=_HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    app.callback()(_root)
    for name in [first] if first in _PARTS else _PARTS:
        module, _, what = _PARTS[name].partition(":")
        part = getattr(import_module(f"penstock.cli.{module}"), what)
        if isinstance(part, typer.Typer):
            app.add_typer(part, name=name)
        else:
            app.command(name)(part)
    _let_help_flow(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    file: ConfigFile = None,
) -> None:
    if file:
        os.environ[CONFIG] = str(file)  # for child processes too
    if context.invoked_subcommand != "config":  # which tells what is wrong with the file
        take_from_file(os.environ)


def _let_help_flow(group: typer.Typer) -> None:
    """Break paragraphs of help texts where the window ends, and not, as typer does, where the docstring's lines end."""
    for command in group.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for inner in group.registered_groups:
        if inner.typer_instance:
            _let_help_flow(inner.typer_instance)
