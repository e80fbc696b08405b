"""The tree of commands. Each group is a module; what it needs is imported when it runs."""

from __future__ import annotations

import inspect
import os
from typing import Annotated

import typer

from penstock.cli import (
    audit,
    bench,
    caches,
    config,
    copying,
    dead_letters,
    demo,
    exporting,
    health,
    importing,
    lanes,
    migrating,
    queries,
    status,
    up,
    upkeep,
    verifying,
    work,
)
from penstock.cli.options import ConfigFile, take_from_file
from penstock.wire.settings import CONFIG

_HELP = """Write-behind storage for AI agents.

An agent hands a record over and goes on; workers make it durable, once, in order.

Data goes to standard output, everything else to standard error.

Exit codes: 0 yes, 1 no, 2 usage, 3 not found, 4 queue or store away, 5 unusable setting."""

app = typer.Typer(
    name="penstock", help=_HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
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


app.command("demo")(demo.demo)
app.command("bench")(bench.bench)
app.command("up")(up.up)
app.command("worker")(work.worker)
app.command("import")(importing.import_)
app.command("export")(exporting.export)
app.command("copy")(copying.copy)
app.command("backup")(exporting.backup)
app.command("status")(status.status)
app.command("audit")(audit.audit)
app.command("health")(health.health)
app.command("migrate")(migrating.migrate)
app.command("verify")(verifying.verify)
app.command("upkeep")(upkeep.upkeep)
app.add_typer(config.app, name="config")
app.add_typer(queries.app, name="query")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(lanes.app, name="lanes")
app.add_typer(caches.app, name="cache")


def _let_help_flow(group: typer.Typer) -> None:
    """Break paragraphs of help texts where the window ends, and not, as typer does, where the docstring's lines end."""
    for command in group.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for inner in group.registered_groups:
        if inner.typer_instance:
            _let_help_flow(inner.typer_instance)


_let_help_flow(app)
