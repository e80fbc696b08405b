"""A store as one file, as it was at one instant, while others write to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol, TypeAlias, runtime_checkable

from penstock.moving.exports import lines_of
from penstock.moving.files import opened, replacing
from penstock.moving.walks import refuse_old
from penstock.stores.contract import SqlStore
from penstock.stores.walking import TABLES

Tell: TypeAlias = Callable[[str, int, int | None], object]
"""Is told what is counted, how many there are by now, and, where that is known, how many there will be."""


class WouldReplaceItself(ValueError):
    """A store was to be written over its own file."""


@runtime_checkable
class OneFile(Protocol):
    """A store that is one file, and can be copied as such."""

    @property
    def file(self) -> Path:
        """Where it lies."""
        ...

    async def back_up(self, to: Path, tell: Callable[[int, int], object]) -> None:
        """Write the store as it is now to *to*, a new file. *tell* is told pages done, and pages in all."""
        ...


async def back_up(store: SqlStore, to: Path, tell: Tell) -> None:
    """Write *store* to *to*: a file of its own kind where it is one, else an export of every table.

    Raises:
        OSError: *to* cannot be written; what was there before is still there.
        WouldReplaceItself: *to* is the store.
    """
    if not isinstance(store, OneFile):
        await export_to(store, to, list(TABLES), tell)
        return
    _refuse_itself(store, to)
    with replacing(to) as partial:
        await store.back_up(partial, lambda done, all_: tell("pages", done, all_))


async def export_to(store: SqlStore, to: Path, tables: Sequence[str], tell: Tell) -> None:
    """Write *tables* of *store* to the file *to*. Raises as `back_up` does."""
    _refuse_itself(store, to)
    with replacing(to) as partial, opened(partial, to) as file:
        await export(store, file, tables, tell)


async def export(store: SqlStore, file: IO[bytes], tables: Sequence[str], tell: Tell) -> None:
    """Write *tables* of *store*, as they are at one instant, to *file*."""
    await refuse_old(store)
    async with store.snapshot() as source:
        async for lines in lines_of(source, tables, lambda table, count: tell(table, count, None)):
            file.write(lines)


def _refuse_itself(store: SqlStore, to: Path) -> None:
    if isinstance(store, OneFile) and to.exists() and store.file.exists() and to.samefile(store.file):
        raise WouldReplaceItself(f"{to} is the store itself; give another name")
