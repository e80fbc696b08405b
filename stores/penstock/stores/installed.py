"""Backends that installed packages offer, each by an entry point of the group `penstock.stores`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from penstock.stores.errors import BrokenBackend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "penstock.stores"


class Installed(NamedTuple):
    """What one package offers for one scheme: a module, or a function that is registered."""

    package: str
    """Name and version of its distribution."""
    entry: EntryPoint

    def __str__(self) -> str:
        return f"{self.package} ({self.entry.value})"


@cache
def backends() -> Mapping[str, Sequence[Installed]]:
    """What is offered, by scheme. Looked up once a process; nothing is imported."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms, which Penstock's own schemes need not wait for

    found: dict[str, list[Installed]] = {}
    for entry in entry_points(group=GROUP):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
        found.setdefault(entry.name, []).append(Installed(package, entry))
    return found


def load(backend: Installed) -> object:
    """What its entry point names.

    Raises:
        BrokenBackend: It cannot be imported, or is not there.
    """
    try:
        return backend.entry.load()
    except Exception as exc:  # a module of somebody else may raise anything
        raise BrokenBackend(
            f"{backend.entry.name}:// is served by {backend}, which cannot be loaded; mend, upgrade or remove it: "
            f"{type(exc).__name__}: {exc}"
        ) from exc
