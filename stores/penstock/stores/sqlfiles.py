"""SQL that lies beside its backend: named statements, and numbered migrations with their checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from penstock.stores.errors import StoreRejected

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)
_MIGRATION = re.compile(r"(\d{4})_(\w+)\.sql\Z")


class Migration(NamedTuple):
    """One step of a schema. Never edited once it is released."""

    number: int
    name: str
    sql: str
    checksum: str

    @property
    def title(self) -> str:
        """Number and name, as its file is called."""
        return f"{self.number:04}_{self.name}"


def statements(package: str) -> dict[str, str]:
    """The blocks of the files `sql/*.sql`, those for every backend and *package*'s own, by their `-- name:` lines."""
    found: dict[str, str] = {}
    for entry in (*files("penstock.stores").joinpath("sql").iterdir(), *files(package).joinpath("sql").iterdir()):
        parts = _NAME.split(entry.read_text("utf-8"))
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"{package}: two statements are called {name}")
            found[name] = body.strip().removesuffix(";")
    return found


def migrations(package: str) -> list[Migration]:
    """The files `migrations/NNNN_name.sql` of *package*, in order."""
    found = []
    for entry in files(package).joinpath("migrations").iterdir():
        match = _MIGRATION.match(entry.name)
        if match:
            sql = entry.read_text("utf-8").replace("\r\n", "\n")
            found.append(Migration(int(match[1]), match[2], sql, hashlib.sha256(sql.encode()).hexdigest()))
    return sorted(found)


def pending(known: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Those of *known* that are not *applied* (number to checksum).

    Raises:
        StoreRejected: The schema is newer than this code, or was made from other files.
    """
    refuse_newer(max(applied, default=0), known)
    for each in known:
        if applied.get(each.number, each.checksum) != each.checksum:
            raise StoreRejected(
                f"migration {each.number} ({each.name}) was applied from another text than this release has; "
                f"use the release that made the schema, or restore its migration file"
            )
    return [each for each in known if each.number not in applied]


def refuse_newer(found: int, known: Sequence[Migration]) -> None:
    """Raise `StoreRejected` where the schema's number is above every known one."""
    if found > len(known):
        raise StoreRejected(
            f"the schema has version {found}, this release knows up to {len(known)}; upgrade penstock here first"
        )
