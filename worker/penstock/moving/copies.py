"""One store into another, then both compared.

Nothing remembers how far a copy came: it walks both stores side by side and writes what the target lacks. So a copy
that was killed goes on where it was, one that is repeated brings what has come since, and a lost or old note of the
progress can do no harm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import blake2b

from penstock.moving.loading import Loader
from penstock.moving.walks import Walkable, records_of
from penstock.stores.walking import TABLES
from penstock.wire.frames import encode
from penstock.wire.records import Message, MessageDeletion, Record

_TELL_EVERY = 500
_CHECKSUM_BYTES = 8


@dataclass(slots=True)
class Comparison:
    """One table of two stores."""

    table: str
    records: int = 0
    """In the source."""
    missing: int = 0
    """Of these, not in the target."""
    different: int = 0
    """Of these, in the target with other values."""
    more: int = 0
    """In the target and not in the source. They are its own business."""
    checksum: str = ""
    """Of the source's records, in their order."""
    target_checksum: str = ""
    """Of the same records as the target has them."""

    @property
    def is_equal(self) -> bool:
        """Whether the target has every record of the source as it is there."""
        return not self.missing and not self.different and self.checksum == self.target_checksum


async def copy_table(
    source: Walkable, target: Walkable, table: str, loader: Loader, tell: Callable[[int], object]
) -> None:
    """Have *loader*, which writes to *target*, write what *target* lacks. *tell* is told how many records were seen."""
    seen = 0
    async for ours, theirs in _side_by_side(source, target, table):
        if ours is None:
            continue
        seen += 1
        if ours != theirs:
            await loader.add(f"{table} {TABLES[table].key_of(ours)}", ours)
            if (late := _late_mark(ours, theirs)) is not None:
                await loader.add(f"{table} {TABLES[table].key_of(ours)}", late)
        if seen % _TELL_EVERY == 0:
            tell(seen)
    await loader.flush()
    tell(seen)


def _late_mark(ours: Record, theirs: Record | None) -> Record | None:
    """The deletion of a message that was copied before it was deleted: the message itself is there already."""
    if isinstance(ours, Message) and isinstance(theirs, Message) and ours.deleted_at_us is not None:
        return MessageDeletion(ours.id, ours.deleted_at_us, ours.session_id, ours.id)
    return None


async def compare(source: Walkable, target: Walkable, table: str, tell: Callable[[int], object]) -> Comparison:
    """Every record of *table* in both. *tell* is told how many records of the source were compared."""
    found = Comparison(table)
    sums = blake2b(digest_size=_CHECKSUM_BYTES), blake2b(digest_size=_CHECKSUM_BYTES)
    async for ours, theirs in _side_by_side(source, target, table):
        if ours is None:
            found.more += 1
            continue
        found.records += 1
        sums[0].update(encode(ours, None))
        if theirs is None:
            found.missing += 1
        else:
            sums[1].update(encode(theirs, None))
            found.different += ours != theirs
        if found.records % _TELL_EVERY == 0:
            tell(found.records)
    tell(found.records)
    found.checksum, found.target_checksum = (each.hexdigest() for each in sums)
    return found


async def _side_by_side(
    source: Walkable, target: Walkable, table: str
) -> AsyncIterator[tuple[Record | None, Record | None]]:
    """The records of both by their keys, None on the side where there is none.

    What is written to *target* meanwhile lies behind the place where it is read.
    """
    key_of = TABLES[table].key_of
    left, right = records_of(source, table), records_of(target, table)
    ours, theirs = await anext(left, None), await anext(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and key_of(ours) < key_of(theirs)):
            yield ours, None
            ours = await anext(left, None)
        elif ours is None or key_of(theirs) < key_of(ours):
            yield None, theirs
            theirs = await anext(right, None)
        else:
            yield ours, theirs
            ours, theirs = await anext(left, None), await anext(right, None)
