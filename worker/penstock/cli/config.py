"""`penstock config`: what every setting is, where that comes from, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.text import Text

from penstock.cli.config_faults import faults_of, foreign_stores, parts
from penstock.cli.display import cell, complain, console, print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import ConfigFile, Json
from penstock.wire.scripts import hide_password
from penstock.wire.settings import ALIASES, CONFIG, InvalidSetting, Sources, from_mapping, hints_of

app = typer.Typer(help="Settings: what they are, where they come from, what is wrong.", no_args_is_help=True)

_SECRET_WORDS = {"secret", "password", "token", "key"}


@dataclass(slots=True)
class Effective:
    """A setting as the parts that read it see it."""

    name: str
    value: Any
    origin: str
    """default, file or environment."""
    place: str | None
    """Which variable, or which line of the file."""
    readers: list[str]


@app.command()
def show(*, json: Json = False, file: ConfigFile = None) -> None:
    """Show every setting and where it comes from.

    The environment goes before the file. Options go before both; they are not told here. Secrets are hidden.
    """
    environ = _environ(file)
    try:
        settings = effective(environ)
    except InvalidSetting as exc:
        raise Stop(f"{exc}; penstock config check names everything that is wrong", Code.SETUP) from exc
    path = environ.get(CONFIG) or None
    if json:
        print_json({"file": path, "settings": [asdict(each) for each in settings]})
        return
    say(f"The file is {path}." if path else f"There is no file; {CONFIG} or --config names one.")
    rows = [[each.name, ", ".join(each.readers), _from(each), _whole(each.value)] for each in settings]
    print_table(["setting", "for", "from", "value"], rows, whole=True)


def _from(setting: Effective) -> str:
    if setting.origin == "file" and setting.place:
        return "file" + setting.place[setting.place.rfind(", line") :]
    alias = setting.place in ALIASES.values()
    return f"{setting.origin}, {setting.place}" if alias else setting.origin


def _whole(value: object) -> Text:
    """*value* as it is written in a file, in as many lines as it takes."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    shown = cell(None if value is None else text)
    shown.overflow = "fold"
    return shown


@app.command()
def check(*, json: Json = False, file: ConfigFile = None) -> None:
    """Name everything that is wrong with the settings.

    Names that nothing reads, with the nearest right one; values of another type or out of range; variables that the
    file needs and that are not set. Connects to nothing. Exit code 1 where something is wrong.
    """
    environ = _environ(file)
    faults = faults_of(environ)
    if json:
        print_json({"file": environ.get(CONFIG) or None, "faults": faults})
    elif not faults:
        settings = effective(environ)
        given = sum(each.origin != "default" for each in settings)
        console().print(f"Nothing is wrong. {given} of {len(settings)} settings are given.", style="green")
        for served in foreign_stores(environ):
            console().print(Text(served), soft_wrap=True)
    for fault in [] if json else faults:
        complain(fault)
    if faults:
        raise SystemExit(Code.NO)


def _environ(file: object) -> Mapping[str, str]:
    return {**os.environ, CONFIG: str(file)} if file else os.environ


def effective(environ: Mapping[str, str]) -> list[Effective]:
    """Every setting once; twice only where two parts have different defaults.

    Raises:
        InvalidSetting: As the part that reads it would.
    """
    sources = Sources(environ)
    settings: list[Effective] = []
    for part, kind in parts().items():
        read = from_mapping(kind, environ)
        for name in hints_of(kind):
            value = _hidden(name, getattr(read, name))
            same = next((each for each in settings if (each.name, each.value) == (name, value)), None)
            if same:
                same.readers.append(part)
                continue
            found = sources.find(name)
            origin, place = (found.origin, found.place) if found else ("default", None)
            settings.append(Effective(name, value, origin, place, [part]))
    return settings


def _hidden(name: str, value: object) -> object:
    if not name.endswith("_url") and _SECRET_WORDS & set(name.split("_")) and value:
        return "***"
    return hide_password(value) if isinstance(value, str) else value
