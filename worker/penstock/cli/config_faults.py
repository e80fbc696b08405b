"""What is wrong with the settings that an environment and its file give: all of it, not the first thing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from penstock.wire.errors import PenstockError
from penstock.wire.settings import CONFIG, PREFIX, Found, InvalidSetting, Sources, converted, hints_of, variable_of
from penstock.wire.settings_file import SettingsFile


def parts() -> dict[str, type[Any]]:
    """The settings class of each part, by the heading that a file may have for it."""
    from penstock.producer import ProducerSettings  # noqa: PLC0415 - see `app`
    from penstock.query.cache_settings import CacheSettings  # noqa: PLC0415
    from penstock.query.reader import ReaderSettings  # noqa: PLC0415
    from penstock.worker import WorkerConfig  # noqa: PLC0415

    return {"producer": ProducerSettings, "worker": WorkerConfig, "reader": ReaderSettings, "cache": CacheSettings}


def faults_of(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each thing that is wrong; what concerns several parts is told once."""
    known: dict[str, list[str]] = {}
    for part, settings in parts().items():
        for name in hints_of(settings):
            known.setdefault(name, []).append(part)
    sources = Sources(environ)
    faults = [*_of_variables(environ, known)]
    if sources.file:
        faults += _of_file(sources.file, known)
        sources.file = replace(sources.file, faults=[])  # they are told; the lines that were read are checked as well
    given = _given(sources, known)
    for settings in parts().values():
        faults += _of_values(settings, given)
    faults += _of_names(given)
    return list(dict.fromkeys(faults))


def _of_variables(environ: Mapping[str, str], known: Iterable[str]) -> Iterator[str]:
    variables = {variable_of(name): name for name in (*known, CONFIG.removeprefix(PREFIX).lower())}
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in variables:
            near = _nearest(variable, variables.values())
            yield f"{variable} is a variable that nothing reads; {_meant(near and variable_of(near))}"


def _of_file(file: SettingsFile, known: Mapping[str, list[str]]) -> Iterator[str]:
    yield from file.faults
    for name, line in file.lines.items():
        if name not in known:
            yield f"{line.place} is no setting; {_meant(_nearest(name, known))}"
        elif line.heading and line.heading not in known[name]:
            yield f"{line.place} stands below [{line.heading}], but is a setting of: {', '.join(known[name])}"
        yield from line.faults


def _nearest(name: str, known: Iterable[str]) -> str:
    # The prefix would make every two variables look alike.
    return next(iter(get_close_matches(name.lower().removeprefix(PREFIX.lower()), list(known), n=1)), "")


def _meant(near: str) -> str:
    return f"is {near} meant?" if near else "penstock config show lists them all"


def _given(sources: Sources, known: Iterable[str]) -> dict[str, Found]:
    given: dict[str, Found] = {}
    for name in known:
        try:
            found = sources.find(name)
        except InvalidSetting:
            continue  # a line with faults, which are told
        if found:
            given[name] = found
    return given


def _of_values(settings: type[Any], given: Mapping[str, Found]) -> Iterator[str]:
    """A settings class tells the first fault only, so what it names is taken away until it is content."""
    values: dict[str, Any] = {}
    taken: set[str] = set()
    for name, hint in hints_of(settings).items():
        if name not in given:
            continue
        try:
            values[name] = converted(given[name], hint)
        except InvalidSetting as exc:
            taken.add(name)
            yield str(exc)
    while values:
        try:
            settings(**values)
        except InvalidSetting as exc:
            words = set(re.findall(r"\w+", str(exc)))
            named = words & values.keys()
            # Beside a default that stands in for what was taken away, a value may be right.
            if not words & taken:
                yield f"{exc}; see {', '.join(given[name].place for name in sorted(named))}"
            if not named:
                return
            taken |= named
            values = {name: value for name, value in values.items() if name not in named}
        else:
            return


def _of_names(given: Mapping[str, Found]) -> Iterator[str]:
    """Whether what a setting names is there: backends, embedder, strategy. Modules are imported, nothing is opened."""
    from penstock.embedding import open_embedder  # noqa: PLC0415 - see `app`
    from penstock.stores.registry import key_value_store, sql_store, vector_store  # noqa: PLC0415
    from penstock.wire.scripts import Scripts  # noqa: PLC0415
    from penstock.wire.strategies import load  # noqa: PLC0415

    key = given["embedder_key"].value if "embedder_key" in given else None
    opened_by: dict[str, Callable[[str], object]] = {
        "redis_url": Scripts,
        "sql_url": sql_store,
        "vector_url": vector_store,
        "key_value_url": key_value_store,
        "embedder": lambda setting: open_embedder(setting, key),
        "strategy": load,
    }
    for name in sorted(opened_by.keys() & given.keys()):
        try:
            opened_by[name](given[name].value)
        except PenstockError as exc:
            yield f"{exc}; see {given[name].place}"


def foreign_stores(environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each URL, of settings in which nothing is wrong, that a package other than Penstock opens."""
    from penstock.stores.registry import SortName, served_by  # noqa: PLC0415 - see `app`

    sorts: dict[str, SortName] = {"sql_url": "sql", "vector_url": "vector", "key_value_url": "key_value"}
    for name, found in _given(Sources(environ), sorts).items():
        server = served_by(found.value, sorts[name])
        if server:
            yield f"{name} is served by {server}."
