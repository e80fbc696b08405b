"""Records written in a transaction that is rolled back, each behind a savepoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from penstock.stores.contract import Trial
from penstock.stores.errors import StoreRejected
from penstock.stores.postgres import batch
from penstock.stores.postgres.deletions import Deletions, lock, locks_of
from penstock.stores.postgres.translation import is_collision, refusal_of
from penstock.wire.records import Record


class Rehearsed(Exception):
    """What came of it. No error: the way out of a transaction that must not be committed."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        super().__init__()
        self.trials = trials


async def perform(connection: Any, records: Sequence[Record], deletions: Deletions) -> None:
    """Write *records* in an open transaction, one after the other.

    Raises:
        Rehearsed: In any case, so that whoever began the transaction rolls it back.
        Collision: Nothing is known; the next try may pass.
    """
    tries = [_sorted(record) for record in records]
    # All at once and in their order, or a worker and we might wait for each other.
    locks = {each for one in tries if isinstance(one, batch.Batch) for each in locks_of(one.records)}
    await lock(connection, sorted(locks))
    raise Rehearsed([await _trial(connection, one, deletions) for one in tries])


def _sorted(record: Record) -> batch.Batch | Trial:
    try:
        return batch.sort([record], None)
    except StoreRejected as exc:
        return Trial(is_new=False, refusal=str(exc))


async def _trial(connection: Any, one: batch.Batch | Trial, deletions: Deletions) -> Trial:
    if isinstance(one, Trial):
        return one
    try:
        async with connection.transaction():
            return Trial(is_new=await batch.apply(connection, one, deletions) > 0)
    except StoreRejected as exc:
        return Trial(is_new=False, refusal=str(exc))
    except asyncpg.PostgresError as exc:
        refusal = None if is_collision(exc) else refusal_of(exc)
        if refusal is None:
            raise
        return Trial(is_new=False, refusal=refusal)
