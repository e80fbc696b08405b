"""Which keys a table holds, so that a batch of new ones is appended.

A merge joins a batch with all keys of the table. An append needs a third of the time, however large the table is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

MAX_KEYS = 4_000_000
"""Of all tables of a store together, 8 bytes each. The batches of a table beyond are merged."""

Numbers: TypeAlias = NDArray[np.int64]


def numbers_of(keys: Sequence[str]) -> Numbers:
    """A number for each key, sorted; another one in every process. Two keys with one number are taken for the same,
    which costs a merge."""
    return np.sort(np.fromiter(map(hash, keys), np.int64, len(keys)))


class Keys:
    """The keys of one version of a table."""

    __slots__ = ("_runs",)

    def __init__(self, numbers: Numbers) -> None:
        self._runs = [numbers]
        """Each sorted, and at least twice as long as the next."""

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def new_of(self, numbers: Numbers) -> Numbers:
        """Those of *numbers* that are none of these."""
        for run in self._runs:
            if len(run):
                numbers = numbers[run.take(run.searchsorted(numbers), mode="clip") != numbers]
        return numbers

    def add(self, numbers: Numbers) -> None:
        """Take in what `new_of` gave."""
        if not len(numbers):
            return
        runs = self._runs
        runs.append(numbers)
        while len(runs) > 1 and len(runs[-2]) < 2 * len(runs[-1]):
            # Of two runs a stable sort is a merge.
            runs[-2:] = [np.sort(np.concatenate(runs[-2:]), kind="stable")]


async def keys_of(table: Any) -> Keys:
    """All keys of *table*. It takes 0.4 s of a core for a million; every thousand, others have their turn."""
    batches: Iterable[Numbers] = [
        numbers_of(batch.column("id").to_pylist()) async for batch in await table.query().select(["id"]).to_batches()
    ]
    return Keys(np.sort(np.concatenate([np.empty(0, np.int64), *batches])))
