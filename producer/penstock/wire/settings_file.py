"""A settings file, TOML or YAML: its lines with their variables filled in, and what is wrong with it.

A line is `lease_ms = 5000`. A table such as `[worker]` is a heading: it groups lines and changes none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HEADINGS = ("producer", "worker", "reader")

_VARIABLE = re.compile(r"\$\$|\$\{(?:(?P<name>[A-Za-z_]\w*)(?P<default>:-[^}]*)?\})?", re.ASCII)
"""`$$`, `${NAME}`, `${NAME:-default}`; and a `${` that begins neither, which is refused rather than passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One setting of a file."""

    place: str
    """For people: the name, the file and the number of the line."""
    heading: str
    """Empty above the first one."""
    value: str
    """With its variables filled in."""
    faults: list[str]
    """Variables that are not set. The value must not be used then."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file says."""

    path: str
    lines: dict[str, Line] = field(default_factory=dict)
    """By name, in lower case."""
    faults: list[str] = field(default_factory=list)
    """Why the file as a whole cannot be used."""


class _Entry(NamedTuple):
    heading: str
    name: str
    value: str | None
    """None for what is no single value."""
    line: int | None


def read(path: str, variables: Mapping[str, str]) -> SettingsFile:
    """What the file at *path* says, its `${NAME}` filled in from *variables*. Raises nothing: see `faults`."""
    file = SettingsFile(path)
    try:
        text = Path(path).read_text("utf-8-sig")
        entries = list(_from_yaml(text) if path.endswith((".yaml", ".yml")) else _from_toml(text))
    except ModuleNotFoundError:
        file.faults.append(f"{path} needs PyYAML; install it with: pip install 'penstock[yaml]', or write TOML")
    except OSError as exc:
        file.faults.append(f"{path} cannot be read: {exc.strerror}")
    except ValueError as exc:
        file.faults.append(f"{path} cannot be read: {exc}")
    else:
        for each in entries:
            _add(file, each, variables)
    return file


def _add(file: SettingsFile, entry: _Entry, variables: Mapping[str, str]) -> None:
    name = entry.name.lower()
    where = file.path if entry.line is None else f"{file.path}, line {entry.line}"
    place = f"{entry.name} in {where}"
    if entry.heading and entry.heading not in HEADINGS:
        headings = ", ".join(f"[{each}]" for each in HEADINGS)
        file.faults.append(f"{place} stands below [{entry.heading}]; {headings} or none is needed")
    elif entry.value is None:
        file.faults.append(f"{place} is a table or a list; settings are lines such as lease_ms = 5000")
    elif name in file.lines:
        file.faults.append(f"{place} stands twice; one of them must go")
    else:
        value, missing = _filled(entry.value, variables)
        faults = [f"{place} {each}" for each in missing]
        file.lines[name] = Line(place=place, heading=entry.heading, value=value, faults=faults)


def _filled(text: str, variables: Mapping[str, str]) -> tuple[str, list[str]]:
    """*text* with its variables' values, and what stood in the way. As in a shell, `:-` also replaces an empty one."""
    faults: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match[0] == "$$":
            return "$"
        if name is None:
            faults.append("has a ${ that begins no ${NAME} and no ${NAME:-default}; $${ stands for the characters")
        elif default is not None:
            return variables.get(name) or default.removeprefix(":-")
        elif name not in variables:
            faults.append(f"needs the variable {name}, which is not set; set it, or write ${{{name}:-default}}")
        return variables.get(name, "")

    return _VARIABLE.sub(fill, text), faults


def _from_toml(text: str) -> Iterator[_Entry]:
    import tomllib  # noqa: PLC0415 - most programs have no file

    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"{exc} as TOML; YAML is a file named .yaml or .yml") from exc
    for name, value in tables.items():
        heading, below = (name, value) if isinstance(value, dict) else ("", {name: value})
        for each, inner in below.items():
            yield _Entry(heading, each, _text(inner), _line_of(each, text))


def _text(value: object) -> str | None:
    if isinstance(value, dict | list):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _line_of(name: str, text: str) -> int | None:
    """Where *name* is given a value; None where that is written in a way that only the parser understands."""
    found = re.search(rf"^[^#\n]*?(?<![\w-]){re.escape(name)}[\"']?[ \t]*=", text, re.MULTILINE)
    return None if found is None else text.count("\n", 0, found.end()) + 1


def _from_yaml(text: str) -> Iterator[_Entry]:
    """Nodes and not values: a namespace called `no` or `007` stays as it is written, and lines are known."""
    import yaml  # noqa: PLC0415 - an extra

    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        # Its own text quotes the line, which may hold a password.
        at = "" if exc.problem_mark is None else f" (at line {exc.problem_mark.line + 1})"
        raise ValueError(f"{exc.problem}{at}") from None
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from exc
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("no lines such as lease_ms: 5000")  # noqa: TRY004 - the file is wrong, not our call
    for key, node in root.value:
        heading, below = (key.value, node.value) if isinstance(node, yaml.MappingNode) else ("", [(key, node)])
        for name, inner in below:
            if not isinstance(name, yaml.ScalarNode):
                raise ValueError(f"a name is a word (at line {name.start_mark.line + 1})")  # noqa: TRY004 - as above
            null = inner.tag == "tag:yaml.org,2002:null"
            if null and name.value in HEADINGS:
                continue  # a heading with nothing below
            value = inner.value if isinstance(inner, yaml.ScalarNode) else None
            yield _Entry(str(heading), name.value, "" if null else value, name.start_mark.line + 1)
