"""Answers of the stores that readers keep in the queue server, and what makes workers forget them.

A subject is a task, an agent's state or a session, or all lists of one kind. What is stored of a subject makes the
answers about it old: who stored it forgets the subject before the log is trimmed, so before a receipt says `stored`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from penstock.wire.ids import new_id
from penstock.wire.keys import Keys
from penstock.wire.records import AgentState, Message, MessageDeletion, Record, Task, TaskStatus

if TYPE_CHECKING:  # a reader that keeps no answers needs no client of a queue server
    from penstock.wire.scripts import Scripts

CACHING_TTL_S = 2 * 24 * 3600
"""How long workers go on forgetting after the last reader asked. Above any answer's time to live."""

ASKED_MS = 2_000
"""So long others wait for who asks the store; then the next one asks as well."""

TOKEN_MS = 60_000
"""An answer that took longer is not kept."""

MOST_ANSWERS = 1_000
"""About one subject: lists are asked for in many ways."""

MOST_BYTES = 8 * 1024 * 1024
"""Of the answers about one subject that were kept since it was forgotten last."""

_FORGOTTEN_AT_ONCE = 500
_CLEARED_AT_ONCE = 500


class Subject(NamedTuple):
    """What answers are about."""

    kind: str
    """`task`, `agent_state` or `session`; or `tasks`, `agent_states` or `sessions`, the lists and counts of them."""
    id: str = ""


class Looked(NamedTuple):
    """What a cache knows of one question."""

    answer: bytes
    """Empty when there is none."""
    token: bytes
    is_ours_to_ask: bool
    """The store is to be asked. Else somebody does already."""


def subjects_of(records: Iterable[Record]) -> set[Subject]:
    """What *records* change."""
    found: set[Subject] = set()
    for record in records:
        match record:
            case Message(session_id=session) | MessageDeletion(session_id=session):
                found.add(Subject("session", session))
            case Task(task_id=task) | TaskStatus(task_id=task):
                found.add(Subject("task", task))
            case AgentState(agent_id=agent):
                found.add(Subject("agent_state", agent))
    return found | {Subject(f"{kind}s") for kind in {each.kind for each in found}}


class AnswerCache:
    """The answers of one namespace. Every method raises what `Scripts` raises."""

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def look(self, subject: Subject, question: str) -> Looked:
        """The answer to *question*, or who has to ask the store."""
        args = (question, new_id(), ASKED_MS, TOKEN_MS)
        answer, token, ours = await self._scripts.run("cache_get", [self._keys.cached(*subject)], args)
        return Looked(answer, token, bool(ours))

    async def keep(self, subject: Subject, question: str, token: bytes, answer: bytes, ttl_ms: int) -> bool:
        """Keep *answer*, unless *subject* was forgotten since `look` gave *token*."""
        args = (question, token, answer, ttl_ms, MOST_ANSWERS, MOST_BYTES)
        return bool(await self._scripts.run("cache_put", [self._keys.cached(*subject)], args))

    async def announce(self, hits: int, misses: int) -> None:
        """Have workers forget what they change, and add to the counts. To be called before the first `look`."""
        with self._scripts.translated():
            async with self._scripts.client.pipeline(transaction=False) as pipe:
                pipe.set(self._keys.caching(), "1", ex=CACHING_TTL_S)
                pipe.hincrby(self._keys.cache_counts(), "hits", hits)
                pipe.hincrby(self._keys.cache_counts(), "misses", misses)
                await pipe.execute()

    async def is_used(self) -> bool:
        """Whether somebody has to forget anything.

        Who is told no after a write may go on: a reader announces itself before it looks, and looks before it asks the
        store, so one that comes later sees the write.
        """
        with self._scripts.translated():
            return bool(await self._scripts.client.exists(self._keys.caching()))

    async def forget(self, subjects: Iterable[Subject]) -> None:
        """Forget every answer about *subjects*, also those that are being asked for."""
        names = iter([self._keys.cached(*subject) for subject in subjects])
        while some := list(itertools.islice(names, _FORGOTTEN_AT_ONCE)):
            await self._unlink(some)

    async def clear(self, pattern: str) -> int:
        """Forget all subjects whose `kind:id` matches the glob *pattern*. Returns how many there were."""
        # A namespace with a bracket in it is no pattern.
        plain = "".join(f"\\{each}" if each in "*?[]\\" else each for each in self._keys.namespace)
        match, gone, cursor = f"{plain}:cache:{pattern}", 0, 0
        while True:
            with self._scripts.translated():
                cursor, names = await self._scripts.client.scan(cursor, match=match, count=_CLEARED_AT_ONCE)
            gone += await self._unlink(names) if names else 0
            if not cursor:
                return gone

    async def _unlink(self, names: Sequence[str | bytes]) -> int:
        with self._scripts.translated():
            async with self._scripts.client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.unlink(name)
                return sum(await pipe.execute())

    async def counts(self) -> tuple[int, int]:
        """Hits and misses of all readers so far."""
        with self._scripts.translated():
            hits, misses = await self._scripts.client.hmget(self._keys.cache_counts(), "hits", "misses")
        return int(hits or 0), int(misses or 0)
