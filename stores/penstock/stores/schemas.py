"""How far a database's schema has come, and what this release can do with one that is behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.stores.errors import SchemaTooOld
from penstock.stores.sorting import Sorted
from penstock.stores.sqlfiles import Migration, pending, refuse_newer

FIRST_WITH_STATE = 2
"""Version of the first schema with state and tombstones."""

FIRST_WITH_SEARCH = 3
"""Version of the first schema with an index of words."""

OLDEST_THAT_RUNS = 1
"""Version of the schema that the release before this one made: it has to do until somebody migrates it."""

_REMEDY = "run `penstock migrate`"


class SchemaVersion(NamedTuple):
    """How far the schema has come."""

    found: int
    """Number of the last migration that was applied; 0 where there are no tables."""
    newest: int
    """The one that this release brings."""
    pending: Sequence[str]
    """Titles of the migrations that wait, in order; then what the store's URL asks for beyond them."""


def version_of(known: Sequence[Migration], applied: Mapping[int, str]) -> SchemaVersion:
    """The version of a schema with these migrations *applied* (number to checksum). Raises as `pending` does."""
    return SchemaVersion(max(applied, default=0), len(known), [each.title for each in pending(known, applied)])


def refuse_unfit(found: int, known: Sequence[Migration]) -> None:
    """Refuse to run on a schema with the number *found*, which nobody migrates now.

    Raises:
        StoreRejected: It is newer than this code.
        SchemaTooOld: It is from before the release that came before this one.
    """
    refuse_newer(found, known)
    if found < OLDEST_THAT_RUNS:
        what = f"the schema has version {found}" if found else "there are no tables"
        raise SchemaTooOld(f"{what}; this release runs on version {OLDEST_THAT_RUNS} to {len(known)}: {_REMEDY}")


def refuse_what_lacks(found: int, batch: Sorted) -> None:
    """Refuse a *batch* with what a schema with the number *found* has no tables for.

    Raises:
        SchemaTooOld: State, or deletions, which would be forgotten without their tombstones.
    """
    if found < FIRST_WITH_STATE and (batch.states or batch.deletions):
        what = "state" if batch.states else "deletions"
        raise SchemaTooOld(
            f"{what} cannot be stored at version {found} of the schema but from {FIRST_WITH_STATE} on: {_REMEDY}"
        )


def refuse_state(found: int) -> None:
    """Refuse to keep state in a schema with the number *found*, where it has no tables for it.

    Raises:
        SchemaTooOld: It has none yet.
    """
    if found < FIRST_WITH_STATE:
        raise SchemaTooOld(
            f"state is stored from version {FIRST_WITH_STATE} of the schema on, not at {found}: {_REMEDY}"
        )


def refuse_search(found: int) -> None:
    """Refuse to search for words in a schema with the number *found*, where it has no index of them.

    Raises:
        SchemaTooOld: It has none yet.
    """
    if found < FIRST_WITH_SEARCH:
        raise SchemaTooOld(
            f"words are found from version {FIRST_WITH_SEARCH} of the schema on, not at {found}: {_REMEDY}"
        )
