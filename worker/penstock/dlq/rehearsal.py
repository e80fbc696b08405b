"""A replay tried in the stores and undone: how many letters they would take, and what they would say of the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Unpack

from penstock.dlq.letters import DeadLetter
from penstock.dlq.replay import chosen, pieces
from penstock.dlq.selection import Selection, Which
from penstock.embedding import Embedder
from penstock.embedding.store import EmbeddingStore
from penstock.stores.contract import Store, Trial
from penstock.stores.divided import state_store
from penstock.stores.registry import vector_store
from penstock.wire.errors import FrameError
from penstock.wire.frames import decode_frame
from penstock.wire.letters import fingerprint
from penstock.wire.queue import Queue
from penstock.wire.records import Record

_AT_ONCE = 100
"""Letters tried in one transaction, which workers may have to wait for."""


class _Try(NamedTuple):
    letter: DeadLetter
    records: Sequence[Record]


@dataclass(slots=True)
class Refusal:
    """Letters that would come back for one reason."""

    reason: str
    """The first one's."""
    sample: str
    """Its id."""
    letters: int = 0


@dataclass(slots=True, kw_only=True)
class Rehearsal:
    """What a replay would come to now."""

    letters: int = 0
    stored: int = 0
    """Letters with something that is new, or newer than what is there."""
    older: int = 0
    """Letters that would be taken and change nothing: the store has the same, or newer."""
    refused: int = 0
    """Letters that would come back."""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """By what their reasons have in common."""
    missing: tuple[str, ...] = ()
    """Ids that have no dead letter."""

    def add(self, letter: DeadLetter, trials: Sequence[Trial]) -> None:
        """Count *letter* in, whose records came to *trials*."""
        self.letters += 1
        refusal = next((trial.refusal for trial in trials if trial.refusal), None)
        if refusal is not None:
            self._refuse(letter, refusal)
        elif any(trial.is_new for trial in trials):
            self.stored += 1
        else:
            self.older += 1

    def _refuse(self, letter: DeadLetter, reason: str) -> None:
        self.refused += 1
        alike = fingerprint(letter.lane, letter.record_kind, "", reason)
        found = self.refusals.setdefault(alike, Refusal(reason, letter.id))
        found.letters += 1


async def rehearse(
    queue: Queue,
    *,
    sql: str,
    vectors: str,
    key_values: str = "",
    embedder: Embedder | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    **which: Unpack[Which],
) -> Rehearsal:
    """What `replay` of the same letters would come to in the stores at the URLs *sql* and *vectors*, and *key_values*,
    where values under keys have one of their own. Changes nothing.

    Each letter is tried with those before it, 100 in a transaction that is rolled back; a store is opened only when
    a letter is for it. The *embedder*, which stays the caller's to close, makes the vectors of texts that have none, as
    the workers' does, and may cost what it costs them. Strategies are not asked.

    Raises:
        UnknownLane, InvalidRecord: The lane, a time or an id is none.
        QueueUnavailable, StoreUnavailable, StoreRejected, BadStoreURL: Nothing is known of the rest.
    """
    missing: list[str] = []
    found = Rehearsal()
    letters = chosen(queue, ids, missing, limit, Selection(**which))
    async with AsyncExitStack() as stack:
        stores: dict[str, Store] = {}
        async for piece in pieces(letters, _AT_ONCE):
            for lane, of_lane in groupby(piece, key=attrgetter("lane")):
                name = lane if lane in ("embeddings", "state") else "sql"
                if name not in stores:
                    store = vector_store(vectors) if name == "embeddings" else state_store(sql, _of(name, key_values))
                    store = await _checked(stack, store)
                    stores[name] = EmbeddingStore(store, embedder) if embedder and name == "embeddings" else store
                await _try(stores[name], list(of_lane), found)
    found.missing = tuple(missing)
    return found


def _of(name: str, key_values: str) -> str:
    return key_values if name == "state" else ""


async def _checked(stack: AsyncExitStack, store: Store) -> Store:
    stack.push_async_callback(store.close)
    await store.check()  # there is one: nothing is made here
    return store


async def _try(store: Store, piece: Sequence[DeadLetter], found: Rehearsal) -> None:
    tries: list[_Try] = []
    for letter in piece:
        try:
            tries.append(_Try(letter, decode_frame(letter.frame.body)))
        except FrameError as exc:
            found.add(letter, [Trial(is_new=False, refusal=str(exc))])
    trials = iter(await store.rehearse([record for each in tries for record in each.records]))
    for each in tries:
        found.add(each.letter, [next(trials) for _ in each.records])
